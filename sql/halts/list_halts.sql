-- A confined session: everybody's and its user's. Reads only.
create or replace function list_halts(p_include_ended boolean default false)
returns setof trading_halts
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_only text := confined_to();
begin
    return query
    select * from trading_halts h
     where (p_include_ended or h.resumed_at is null) and (v_only is null or coalesce(h.okx_uid, v_only) = v_only)
     order by h.halted_at desc, h.id;
end
$$;

comment on function list_halts(boolean) is
'The halts of trading that are in force, the newest first; with those that ended, if p_include_ended.';
select _allow('list_halts', 'reader writer relay admin');
