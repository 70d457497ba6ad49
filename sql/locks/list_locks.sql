-- A confined session: everybody's and its user's. Reads only.
create or replace function list_locks(p_identifier text default null, p_setting_type text default null)
returns setof setting_locks
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_okx_uid text := case when p_identifier is null then confined_to() else (_resolve_user(p_identifier)).okx_uid end;
begin
    return query
    select * from setting_locks l
     where (l.until is null or l.until > clock_timestamp()) and (v_okx_uid is null or l.okx_uid in (v_okx_uid, ''))
       and (p_setting_type is null or p_setting_type in (l.setting_type, split_part(l.setting_type, ':', 1)))
     order by l.okx_uid, l.setting_type, l.key, l.is_cold;
end
$$;

comment on function list_locks(text, text) is
'The locks of settings in force: all, or those that hold for a user (everybody''s, too), or of a type and its symbols. key is empty for a whole document, okx_uid for everybody. Example: select key, until, reason from list_locks(''587662504768345929'', ''params''). Raises US004, US007, US012.';
select _allow('list_locks', 'reader writer relay admin');
