-- The same data make the same documents. A page ends where its documents come to more than 4 MB.
-- A confined session: its user only. The probe only if it is asked for. Reads by index; no lock.
create or replace function export_users(
    p_identifiers  text[] default null,
    p_with_secrets boolean default false,
    p_after        text default null,
    p_limit        integer default null
)
returns table (okx_uid text, document jsonb)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_users uuid[];
    v_only  text := confined_to();
    v_size  bigint := 0;
begin
    if p_identifiers is not null then
        select coalesce(array_agg((_resolve_user(i)).id), '{}') into v_users from unnest(p_identifiers) i;
    end if;
    for okx_uid, document in
    select u.okx_uid,
           jsonb_build_object('okx_uid', u.okx_uid, 'telegram_id', u.telegram_id, 'name', u.name,
                              'telegram_username', u.telegram_username,
                              'settings', (select coalesce(jsonb_object_agg(s.setting_type,
                                                  case when p_with_secrets then s.settings else _mask_secrets(s.setting_type, s.settings) end), '{}')
                                             from user_settings s
                                            where s.user_id = u.id and s.is_active and s.deleted_at is null))
      from app_users u
     where u.deleted_at is null and u.okx_uid > coalesce(p_after, '') and case when v_users is null then u.okx_uid <> probe_okx_uid() else u.id = any (v_users) end
       and (v_only is null or u.okx_uid = v_only)
     order by u.okx_uid
     limit p_limit
    loop
        return next;
        v_size := v_size + pg_column_size(document);
        exit when p_limit is not null and v_size > 4000000;
    end loop;
end
$$;

comment on function export_users(text[], boolean, text, integer) is
'Users with their active settings as documents that import_users() takes, in the order of their OKX UIDs; no credentials, secrets masked unless p_with_secrets. p_identifiers: these only; p_after, p_limit: the next page, of fewer users where their documents are large; the last one is empty. Raises US004, US007.';
select _allow('export_users', 'reader writer admin');
