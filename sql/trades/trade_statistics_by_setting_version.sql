-- trade_statistics() grouped so, by another name. Version null: of trades without one. No lock.
create or replace function trade_statistics_by_setting_version(
    p_identifier   text default null,
    p_setting_type text default 'params',
    p_symbol       text default null,
    p_side         text default null,
    p_from         timestamptz default null,
    p_to           timestamptz default null
)
returns setof trade_figures
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_setting_type is null or p_setting_type not in ('params', 'dual_side') then
        raise exception using errcode = 'US010', message = 'trades don''t note versions of this setting type',
            hint = 'They note those of params and dual_side.';
    end if;
    return query
    select * from trade_statistics(p_identifier, p_symbol, p_side, p_from, p_to, array[p_setting_type]);
end
$$;

comment on function trade_statistics_by_setting_version(text, text, text, text, timestamp with time zone, timestamp with time zone) is
'Figures of trades per version of a user''s params or dual_side in force at entry. Example: select version, saved_at, trades, net_pnl from trade_statistics_by_setting_version(''587662504768345929''). Raises US004, US007, US010.';
select _allow('trade_statistics_by_setting_version', 'reader writer admin');
