-- trade_statistics() grouped so, by another name. Version null: of trades without one. No lock.
create or replace function trade_statistics_by_setting_version(
    p_identifier   text default null,
    p_setting_type text default 'params',
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
    return query
    select * from trade_statistics(p_identifier, p_symbol, p_side, p_from, p_to, array[p_setting_type], p_year_days, p_capital, p_currency);
end
$$;

comment on function trade_statistics_by_setting_version(text, text, text, text, timestamp with time zone, timestamp with time zone, integer, numeric, text) is
'Figures of trades per version of a user''s params or dual_side in force at entry, and currency. Example: select version, saved_at, currency, trades, net_pnl from trade_statistics_by_setting_version(''587662504768345929''). Raises US004, US007, US010.';
select _allow('trade_statistics_by_setting_version', 'reader writer admin');
