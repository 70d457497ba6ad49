-- The active one; if that is a deletion, the newest document before it. What comes between two versions of one deletion was
-- found in Redis afterwards and never was in force (_keep_losing_document). Reads by index; no lock.
create or replace function _restorable_version(p_user_id uuid, p_setting_type text)
returns integer
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select s.version
      from user_settings a
      join user_settings s on s.user_id = a.user_id and s.setting_type = a.setting_type and s.deleted_at is null
     where a.user_id = p_user_id and a.setting_type = p_setting_type and a.is_active
       and not exists (select from user_settings d
                        where d.user_id = a.user_id and d.setting_type = a.setting_type
                          and d.deleted_at = a.deleted_at and d.version < s.version)
     order by s.version desc
     limit 1
$$;

comment on function _restorable_version(uuid, text) is
'The version that restore_user_setting() would save again; null if nothing was ever saved.';
select _allow('_restorable_version', 'admin');
