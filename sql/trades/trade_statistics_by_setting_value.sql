-- trade_statistics() grouped so, by another name: over everybody's trades, or those of p_identifier. No lock.
create or replace function trade_statistics_by_setting_value(
    p_setting_type text,
    p_key          text,
    p_identifier   text default null,
    p_symbol       text default null,
    p_side         text default null,
    p_from         timestamptz default null,
    p_to           timestamptz default null,
    p_year_days    integer default 365,
    p_capital      numeric default null,
    p_currency     text default null
)
returns setof trade_figures
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform _check_versioned(p_setting_type);
    if coalesce(p_key, '') = '' then
        raise exception using errcode = 'US010', message = 'no key of a setting';
    end if;
    return query
    select * from trade_statistics(p_identifier, p_symbol, p_side, p_from, p_to, array[p_setting_type || '.' || p_key], p_year_days, p_capital,
                                   p_currency);
end
$$;

comment on function trade_statistics_by_setting_value(text, text, text, text, text, timestamp with time zone, timestamp with time zone, integer, numeric, text) is
'Figures of everybody''s trades (of a confined session''s user) per value of a key of params or dual_side, in the version in force at entry, and currency. Value null: it wasn''t set, or isn''t known any more; of a secret: its mask. Example: select value, currency, users, trades, net_pnl from trade_statistics_by_setting_value(''params'', ''leverage''). Raises US004, US007, US010.';
select _allow('trade_statistics_by_setting_value', 'reader writer admin');
