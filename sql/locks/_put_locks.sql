-- In place of earlier ones of these keys; what has expired of this owner goes. Waits until saves of the user's documents of
-- this type that are under way have ended: whatever comes afterwards is refused. (Of everybody's it waits for none.)
create or replace function _put_locks(
    p_okx_uid text, p_setting_type text, p_keys text[], p_reason text, p_until timestamptz, p_is_cold boolean
)
returns setof setting_locks
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(nullif(p_okx_uid, ''));
    if p_until <= clock_timestamp() or not isfinite(p_until) then
        raise exception using errcode = 'US010', message = 'a lock ends in the future, at a moment there is; or (null) when it is removed';
    end if;
    perform from user_settings s
      where s.okx_uid = p_okx_uid and s.is_active
        and p_setting_type in (s.setting_type, split_part(s.setting_type, ':', 1))
      order by s.setting_type for share;
    delete from setting_locks l where l.okx_uid = p_okx_uid and l.until <= clock_timestamp();
    return query
    insert into setting_locks as l (okx_uid, setting_type, key, is_cold, reason, until, locked_by)
    select p_okx_uid, p_setting_type, k.key, p_is_cold, p_reason, p_until, coalesce(_writer_note('actor'), session_user)
      from (select distinct normalize(u.key) from unnest(p_keys) u (key)) as k (key)
     order by k.key
        on conflict (okx_uid, setting_type, key, is_cold) do update
       set reason = excluded.reason, until = excluded.until, locked_at = excluded.locked_at, locked_by = excluded.locked_by,
           written_by = excluded.written_by
    returning l.*;
exception
    when check_violation or not_null_violation then
        raise exception using errcode = 'US010',
            message = 'not a lock as there can be one',
            hint = 'A reason has 1-1000 characters, no control characters; a key at most 200.';
end
$$;

comment on function _put_locks(text, text, text[], text, timestamptz, boolean) is
'Locks keys of a document (an empty one: the whole), in place of earlier locks of these; returns them. Raises US010, US012. Used by lock_setting() and lock_cold_keys().';
select _allow('_put_locks', 'admin');
