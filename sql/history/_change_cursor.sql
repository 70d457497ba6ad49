-- As text, the same whatever the session's settings. Touches no table.
create or replace function _change_cursor(
    p_feed text, p_saved_in xid8, p_updated_at timestamptz, p_user_id uuid, p_version integer, p_setting_type text
)
returns text
language sql stable
set search_path = pg_catalog, public, pg_temp
return concat_ws('.', p_feed, p_saved_in, case when isfinite(p_updated_at) then (extract(epoch from p_updated_at) * 1000000)::bigint::text
                                               else p_updated_at::text end,
                 replace(p_user_id::text, '-', ''), p_version, p_setting_type);

comment on function _change_cursor(text, xid8, timestamp with time zone, uuid, integer, text) is
'The place of a change in the order of changes_after().';
select _allow('_change_cursor', 'admin');
