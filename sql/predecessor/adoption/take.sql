-- Takes what find.sql found no fault with. The triggers are off: versions, times and ids are as they were, and nothing is
-- marked for Redis, whose values may be newer: `sync` tells.
alter table app_users disable trigger user;
alter table telegram_links disable trigger user;
alter table user_settings disable trigger user;
alter table okx_api_info disable trigger user;

-- Columns of app_users that other programs use stay, with their defaults and indexes, but not as a must: the store doesn't
-- fill them.
create temporary table extra_columns on commit drop as
select a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as definition
  from pg_attribute a
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
 where a.attrelid = 'predecessor.app_users'::regclass and a.attnum > 0 and not a.attisdropped
   and not exists (select from pg_attribute o where o.attrelid = 'public.app_users'::regclass and o.attname = a.attname);

do $$
declare
    v_statement text;
begin
    for v_statement in
        select s.statement
          from (select 0 as step, c.attnum as nth, format('alter table public.app_users add column %I %s', c.attname, c.definition) as statement
                  from extra_columns c
                union all
                select 1, i.indexrelid::bigint, replace(pg_get_indexdef(i.indexrelid), ' ON predecessor.app_users ', ' ON public.app_users ')
                  from pg_index i
                 where i.indrelid = 'predecessor.app_users'::regclass
                   and i.indkey::smallint[] <@ array(select c.attnum from extra_columns c)) s
         order by s.step, s.nth
    loop
        execute v_statement;
    end loop;
end
$$;

insert into app_users
select r.*
  from found_users u
 cross join lateral jsonb_populate_record(null::app_users, u.row_data || jsonb_build_object(
            'okx_uid', u.okx_uid, 'telegram_id', case when u.no_link is null then u.telegram_id end, 'version', 1,
            'created_at', u.created_at, 'updated_at', u.updated_at)) r
 where u.reason is null;

insert into telegram_links (telegram_id, okx_uid, last_okx_uid)
select u.telegram_id, u.okx_uid, u.okx_uid from app_users u where u.telegram_id is not null and u.deleted_at is null;

-- Versions are those there were, as far as one can follow another: of rows that were active at once, the one changed last
-- is the active one. Without a live row, or a live user, the newest version is the deletion, at the moment of the user's:
-- restore_user() knows by it what to bring back.
insert into user_settings (id, user_id, okx_uid, telegram_id, setting_type, settings, version, is_active,
                           created_at, updated_at, changed_by, change_reason)
select v.id, v.user_id, v.okx_uid, u.telegram_id, v.setting_type,
       case when a.is_active then _normalised_setting(v.setting_type, v.settings) else v.settings end,
       greatest(v.newest, v.count) - v.count + v.nth, a.is_active, v.created_at,
       v.saved_at + (row_number() over (partition by v.user_id, v.setting_type, v.saved_at order by v.nth) - 1) * interval '1 microsecond',
       'predecessor', 'adopted'
  from (select s.*,
               row_number() over one_by_one as nth,
               max(s.updated_at) over one_by_one as saved_at,
               count(*) over (partition by s.user_id, s.setting_type) as count,
               max(s.version) over (partition by s.user_id, s.setting_type) as newest
          from found_settings s
         where s.reason is null
        window one_by_one as (partition by s.user_id, s.setting_type order by s.is_live, s.updated_at, s.version, s.id)) v
  join app_users u on u.id = v.user_id
 cross join lateral (select v.is_live and v.user_deleted_at is null and v.nth = v.count as is_active) a;

insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings, version, created_at, updated_at, deleted_at,
                           changed_by, change_reason)
select s.user_id, s.okx_uid, max(s.telegram_id), s.setting_type, '{}', max(s.version) + 1, min(s.created_at),
       greatest(max(s.updated_at) + interval '1 microsecond', max(f.user_deleted_at)),
       coalesce(case when bool_or(f.is_live) then max(f.user_deleted_at) end, max(f.deleted_at), max(s.updated_at)),
       'predecessor', 'adopted'
  from user_settings s
  join found_settings f on f.id = s.id
 group by s.user_id, s.okx_uid, s.setting_type
having not bool_or(s.is_active);

-- In plain text, until the caller has encrypted them.
alter table okx_api_info drop constraint okx_api_info_ciphertext;
insert into okx_api_info (id, user_id, okx_uid, api_key, api_secret, passphrase, version, is_active, created_at, updated_at,
                          changed_by, change_reason)
select v.id, v.user_id, v.okx_uid, v.api_key, v.api_secret, v.passphrase, v.nth, v.is_live and v.user_deleted_at is null and v.nth = v.count,
       v.created_at,
       v.saved_at + (row_number() over (partition by v.user_id, v.saved_at order by v.nth) - 1) * interval '1 microsecond',
       'predecessor', 'adopted'
  from (select c.*,
               row_number() over one_by_one as nth,
               max(c.updated_at) over one_by_one as saved_at,
               count(*) over (partition by c.user_id) as count
          from found_credentials c
         where c.reason is null
        window one_by_one as (partition by c.user_id order by c.is_live, c.updated_at, c.id)) v;

insert into okx_api_info (user_id, okx_uid, version, created_at, updated_at, deleted_at, changed_by, change_reason)
select c.user_id, c.okx_uid, max(c.version) + 1, min(c.created_at),
       greatest(max(c.updated_at) + interval '1 microsecond', max(f.user_deleted_at)),
       coalesce(case when bool_or(f.is_live) then max(f.user_deleted_at) end, max(f.deleted_at), max(c.updated_at)),
       'predecessor', 'adopted'
  from okx_api_info c
  join found_credentials f on f.id = c.id
 group by c.user_id, c.okx_uid
having not bool_or(c.is_active);
