-- Where a version was pruned, what comes next isn't the version that follows. user_setting_at() returns the version itself.
-- Reads by index; no lock.
create or replace function _setting_version_at(p_user_id uuid, p_setting_type text, p_at timestamptz)
returns integer
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select s.version
      from (select v.version, v.deleted_at from user_settings v
             where v.user_id = p_user_id and v.setting_type = p_setting_type and v.updated_at <= p_at
             order by v.version desc limit 1) s
     where s.deleted_at is null
       and s.version + 1 = coalesce((select min(v.version) from user_settings v
                                      where v.user_id = p_user_id and v.setting_type = p_setting_type and v.version > s.version),
                                    s.version + 1)
$$;

comment on function _setting_version_at(uuid, text, timestamp with time zone) is
'Which version of a user''s settings was in force at a moment; null if there was none, or if it was pruned.';
select _allow('_setting_version_at', 'admin');
