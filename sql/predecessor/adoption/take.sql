-- Takes what find.sql found no fault with. The triggers are off: versions, times and ids are as they were, and nothing is
-- marked for Redis, whose values may be newer: `sync` tells.
alter table app_users disable trigger user;
alter table telegram_links disable trigger user;
alter table user_settings disable trigger user;
alter table okx_api_info disable trigger user;

insert into app_users
select r.*
  from found_users u
 cross join lateral jsonb_populate_record(null::app_users, u.row_data || jsonb_build_object(
            'okx_uid', u.okx_uid, 'telegram_id', case when u.no_link is null then u.telegram_id end, 'version', 1,
            'created_at', u.created_at, 'updated_at', u.updated_at)) r
 where u.reason is null;

insert into telegram_links (telegram_id, okx_uid, last_okx_uid)
select u.telegram_id, u.okx_uid, u.okx_uid from app_users u where u.telegram_id is not null and u.deleted_at is null;

-- Of a database that was adopted before and rolled back: the versions of a document, or of credentials, that nobody touched in
-- between are as they were (is_intact); others keep authors and reasons.
create temporary table kept_chains on commit drop as
select k.table_name, (k.row_data ->> 'user_id')::uuid as user_id, coalesce(k.row_data ->> 'setting_type', '') as setting_type, count(k.digest) filter (where k.row_data ->> 'version' <> '0') as rows
  from predecessor.kept k
 where k.table_name in ('user_settings', 'okx_api_info')
 group by 1, 2, 3;
create temporary table intact_chains on commit drop as
select k.* from kept_chains k
  join (select 'user_settings' as table_name, s.user_id, s.setting_type, count(*) as rows, bool_and(s.kept is not null) as are_kept
          from found_settings s where s.reason is null group by s.user_id, s.setting_type
        union all
        select 'okx_api_info', c.user_id, '', count(*), bool_and(c.kept is not null)
          from found_credentials c where c.reason is null and not c.is_empty group by c.user_id) f using (table_name, user_id, setting_type)
 where f.are_kept and f.rows = k.rows;

-- Versions are those there were, as far as one can follow another: of rows that were active at once, the one changed last
-- is the active one. Without a live row, or a live user, the newest version is the deletion, at the moment of the user's:
-- restore_user() knows by it what to bring back.
insert into user_settings (id, user_id, okx_uid, telegram_id, setting_type, settings, version, is_active,
                           created_at, updated_at, deleted_at, changed_by, change_reason, written_by)
select v.id, v.user_id, v.okx_uid, u.telegram_id, v.setting_type,
       case when a.is_active then _normalised_setting(v.setting_type, v.settings) else v.settings end,
       coalesce(i.version, greatest(v.newest, v.count) - v.count + v.nth),
       a.is_active,
       coalesce(i.created_at, v.created_at),
       coalesce(i.updated_at, v.saved_at + (row_number() over (partition by v.user_id, v.setting_type, v.saved_at order by v.nth) - 1) * interval '1 microsecond'),
       i.deleted_at, coalesce(k.changed_by, 'predecessor'), case when k.id is null then 'adopted' else k.change_reason end, k.written_by
  from (select s.*,
               row_number() over one_by_one as nth,
               max(s.updated_at) over one_by_one as saved_at,
               count(*) over (partition by s.user_id, s.setting_type) as count,
               max(s.version) over (partition by s.user_id, s.setting_type) as newest
          from found_settings s
         where s.reason is null
        window one_by_one as (partition by s.user_id, s.setting_type order by s.is_live, s.updated_at, s.owner_id = s.user_id, s.version, s.id)) v
  join app_users u on u.id = v.user_id
  left join intact_chains c on c.table_name = 'user_settings' and c.user_id = v.user_id and c.setting_type = v.setting_type
  left join lateral jsonb_populate_record(null::user_settings, v.kept) k on true
  left join lateral jsonb_populate_record(null::user_settings, case when c.user_id is not null then v.kept end) i on true
 cross join lateral (select coalesce(i.is_active, v.is_live and v.user_deleted_at is null and v.nth = v.count) as is_active) a;

insert into user_settings
select r.* from predecessor.kept k
  join intact_chains c on c.table_name = k.table_name and c.user_id::text = k.row_data ->> 'user_id' and c.setting_type = k.row_data ->> 'setting_type'
 cross join lateral jsonb_populate_record(null::user_settings, k.row_data || jsonb_build_object('settings', '{}'::jsonb, 'saved_in', pg_current_xact_id()::text)) r
 where k.table_name = 'user_settings' and k.digest is null;

insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings, version, created_at, updated_at, deleted_at,
                           changed_by, change_reason)
select s.user_id, s.okx_uid, max(s.telegram_id), s.setting_type, '{}', max(s.version) + 1, min(s.created_at),
       greatest(max(s.updated_at) + interval '1 microsecond', max(f.user_deleted_at)),
       coalesce(case when bool_or(f.is_live) then max(f.user_deleted_at) end, max(f.deleted_at), max(s.updated_at)),
       'predecessor', 'adopted'
  from user_settings s
  left join found_settings f on f.id = s.id
 group by s.user_id, s.okx_uid, s.setting_type
having not bool_or(s.is_active);

-- In plain text, until the caller has encrypted them. What was rotated stays deleted, as old code looks for it: deleted_at.
alter table okx_api_info drop constraint okx_api_info_ciphertext;
insert into okx_api_info (id, user_id, okx_uid, api_key, api_secret, passphrase, version, is_active, created_at, updated_at, deleted_at,
                          changed_by, change_reason, written_by)
select v.id, v.user_id, v.okx_uid, v.api_key, v.api_secret, v.passphrase, v.version, v.is_active, v.created_at, v.updated_at,
       case when not v.is_active or v.api_key is null then coalesce(v.deleted_at, lead(v.updated_at) over (partition by v.user_id order by v.version), v.updated_at) end,
       v.changed_by, v.change_reason, v.written_by
  from (select w.id, w.user_id, w.okx_uid, w.api_key, w.api_secret, w.passphrase,
               coalesce(i.version, w.nth) as version,
               coalesce(i.is_active, w.is_live and w.user_deleted_at is null and w.nth = w.count) as is_active,
               coalesce(i.created_at, w.created_at) as created_at,
               coalesce(i.updated_at, w.saved_at + (row_number() over (partition by w.user_id, w.saved_at order by w.nth) - 1) * interval '1 microsecond') as updated_at,
               coalesce(i.deleted_at, w.deleted_at) as deleted_at,
               coalesce(k.changed_by, 'predecessor') as changed_by, case when k.id is null then 'adopted' else k.change_reason end as change_reason,
               k.written_by
          from (select f.*,
                       row_number() over one_by_one as nth,
                       max(f.updated_at) over one_by_one as saved_at,
                       count(*) over (partition by f.user_id) as count
                  from found_credentials f
                 where f.reason is null and not f.is_empty
                window one_by_one as (partition by f.user_id order by f.is_live, f.updated_at, f.owner_id = f.user_id, f.id)) w
          left join intact_chains c on c.table_name = 'okx_api_info' and c.user_id = w.user_id
          left join lateral jsonb_populate_record(null::okx_api_info, w.kept) k on true
          left join lateral jsonb_populate_record(null::okx_api_info, case when c.user_id is not null then w.kept end) i on true) v;

insert into okx_api_info (id, user_id, okx_uid, version, is_active, created_at, updated_at, changed_by, change_reason)
select c.id, c.user_id, c.okx_uid, 0, false, c.created_at, c.updated_at, 'predecessor', 'adopted'
  from found_credentials c
 where c.is_empty;

insert into okx_api_info
select r.* from predecessor.kept k
  join intact_chains c on c.table_name = k.table_name and c.user_id::text = k.row_data ->> 'user_id'
 cross join lateral jsonb_populate_record(null::okx_api_info, k.row_data) r
 where k.table_name = 'okx_api_info' and k.digest is null and k.row_data ->> 'version' <> '0';

insert into okx_api_info (user_id, okx_uid, version, created_at, updated_at, deleted_at, changed_by, change_reason)
select c.user_id, c.okx_uid, max(c.version) + 1, min(c.created_at),
       greatest(max(c.updated_at) + interval '1 microsecond', max(f.user_deleted_at)),
       coalesce(case when bool_or(f.is_live) then max(f.user_deleted_at) end, max(f.deleted_at), max(c.updated_at)),
       'predecessor', 'adopted'
  from okx_api_info c
  left join found_credentials f on f.id = c.id
 where c.version > 0
 group by c.user_id, c.okx_uid
having not bool_or(c.is_active);
