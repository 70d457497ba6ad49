-- Of deleted users, too, by OKX UID or UUID. Reads by index, no lock.
create or replace function api_credentials_history(p_identifier text)
returns table (okx_uid text, version integer, saved_at timestamptz, changed_by text, written_by text, change_reason text, is_deleted boolean)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier, true);
begin
    return query
    select c.okx_uid, c.version, c.updated_at, c.changed_by, c.written_by, c.change_reason, c.api_key is null
      from okx_api_info c where c.user_id = v_user.id and c.version > 0 order by c.version desc;
end
$$;

comment on function api_credentials_history(text) is
'Who changed a user''s API credentials (changed_by: as the session said, written_by: the login) and when, newest first; never what. Raises US004, US007.';
select _allow('api_credentials_history', 'reader writer admin');
