-- Documents saved before with decimal places in an integer of the catalogue (4.0): a version without them, as bots read int("4").
-- By hand: to the triggers 4.0 and 4 are the same.
-- depends: 0021_symbols
do $$
begin
    create temporary table found as
    select s.*, jsonb_object_agg(f.key, n.value) as integers
      from user_settings s
      join setting_fields f on f.setting_type = s.setting_type and f.json_type = 'integer'
     cross join lateral (select case when jsonb_typeof(s.settings -> f.key) = 'number' then (s.settings -> f.key)::numeric end as number offset 0) v
     cross join lateral (select case when scale(v.number) > 0 and v.number % 1 = 0 then to_jsonb(trunc(v.number)) end as value offset 0) n
     where s.is_active and s.deleted_at is null and n.value is not null
     group by s.id;
    if exists (select from found) then
        alter table user_settings disable trigger user;
        update user_settings s
           set settings = s.settings || f.integers, version = s.version + 1, updated_at = greatest(clock_timestamp(), s.updated_at + interval '1 microsecond'),
               changed_by = session_user, change_reason = 'integers without decimal places', written_by = session_user
          from found f where f.id = s.id;
        insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings, version, is_active, created_at, updated_at,
                                   changed_by, change_reason, written_by)
        select f.user_id, f.okx_uid, f.telegram_id, f.setting_type, f.settings, f.version, false, f.created_at, f.updated_at,
               f.changed_by, f.change_reason, f.written_by
          from found f;
        alter table user_settings enable trigger user;
        insert into mirror_pending as m (owner, kind, version)
        select f.okx_uid, f.setting_type, f.version + 1 from found f
            on conflict (owner, kind) do update set version = excluded.version, marked_at = now(), attempts = 0, last_error = null;
    end if;
    drop table found;
end
$$;
