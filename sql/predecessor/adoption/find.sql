-- What the predecessor's tables hold, row by row, and why a row can't be taken (reason; taken says whether it was all the
-- same). Column by column through jsonb, as such tables differ: a column that isn't there is null.

-- Users: one of those with the same OKX UID, a live one, the one changed last. Of live users with the same Telegram ID, the
-- one changed last has it.
create temporary table found_users on commit drop as
with there as (
    select k.user_id, j.row_data ->> 'okx_uid' as okx_uid, nullif(btrim(j.row_data ->> 'telegram_id'), '') as telegram_id,
           (j.row_data ->> 'updated_at')::timestamptz as updated_at
      from predecessor.okx_api_info k
     cross join lateral to_jsonb(k) as j (row_data)
     where j.row_data ->> 'deleted_at' is null
), uids as (
    select distinct on (t.user_id) t.* from there t where t.okx_uid ~ '^[0-9]{16,20}$' order by t.user_id, t.updated_at desc nulls last
), links as (
    select distinct on (t.user_id) t.* from there t where t.telegram_id is not null order by t.user_id, t.updated_at desc nulls last
), given as (
    select u.id, coalesce(nullif(btrim(j.row_data ->> 'okx_uid'), ''), k.okx_uid) as okx_uid,
           coalesce(nullif(btrim(j.row_data ->> 'telegram_id'), ''), nullif(btrim(j.row_data ->> 'telegram_userid'), ''),
                    l.telegram_id) as telegram_id,
           (j.row_data ->> 'deleted_at')::timestamptz as deleted_at,
           coalesce((j.row_data ->> 'created_at')::timestamptz, now()) as created_at,
           coalesce((j.row_data ->> 'updated_at')::timestamptz, (j.row_data ->> 'created_at')::timestamptz, now()) as updated_at,
           j.row_data
      from predecessor.app_users u
     cross join lateral to_jsonb(u) as j (row_data)
      left join uids k on k.user_id = u.id
      left join links l on l.user_id = u.id
), ranked as (
    select g.*,
           first_value(g.id) over same_uid as keeper,
           first_value(g.deleted_at) over same_uid as keeper_deleted_at,
           case when g.okx_uid is null then 'it has no OKX UID'
                when g.okx_uid !~ '^[0-9]{16,20}$' then format('its OKX UID isn''t 16-20 digits but has %s characters', length(g.okx_uid))
                when row_number() over same_uid > 1
                then format('user %s has the same OKX UID, and was changed later or isn''t deleted: its settings are in that user''s history',
                            first_value(g.id) over same_uid)
           end as reason
      from given g
    window same_uid as (partition by g.okx_uid order by g.deleted_at is not null, g.updated_at desc, g.id)
)
select r.*,
       case when r.telegram_id !~ '^[0-9]{5,15}$' then format('its Telegram ID isn''t 5-15 digits but has %s characters', length(r.telegram_id))
            when r.reason is null and r.deleted_at is null and r.telegram_id is not null
                 and row_number() over (partition by r.telegram_id, r.reason is null and r.deleted_at is null order by r.updated_at desc, r.id) > 1
            then 'its Telegram ID is that of another user, too, who was changed later'
       end as no_link
  from ranked r;
create index on found_users (id);
analyze found_users;

-- Settings: those of a duplicate go to the user who was taken.
create temporary table found_settings on commit drop as
select (j.row_data ->> 'id')::uuid as id, (j.row_data ->> 'user_id')::uuid as owner_id, u.keeper as user_id, u.okx_uid,
       j.row_data ->> 'setting_type' as setting_type,
       _convert_settings(j.row_data ->> 'setting_type', j.row_data -> 'settings') as settings,
       (j.row_data ->> 'version')::integer as version,
       coalesce((j.row_data ->> 'is_active')::boolean, true) and j.row_data ->> 'deleted_at' is null
           and (u.deleted_at is null or u.keeper_deleted_at is not null) as is_live,    -- not those of a deleted duplicate
       (j.row_data ->> 'deleted_at')::timestamptz as deleted_at,
       u.keeper_deleted_at as user_deleted_at,
       coalesce((j.row_data ->> 'created_at')::timestamptz, now()) as created_at,
       coalesce((j.row_data ->> 'updated_at')::timestamptz, (j.row_data ->> 'created_at')::timestamptz, now()) as updated_at,
       case when u.okx_uid is null or u.okx_uid !~ '^[0-9]{16,20}$' then 'its user can''t be taken'
            when _setting_type_problem(j.row_data ->> 'setting_type') is not null
            then 'its setting type isn''t one of ' || (select string_agg(t.setting_type, ', ' order by t.setting_type) from setting_types t)
            when jsonb_typeof(j.row_data -> 'settings') is distinct from 'object'
            then format('its settings aren''t an object but %s', coalesce(jsonb_typeof(j.row_data -> 'settings'), 'null'))
       end as reason,
       j.row_data, k.row_data as kept
  from predecessor.user_settings s
 cross join lateral to_jsonb(s) as j (row_data)
  left join found_users u on u.id = (j.row_data ->> 'user_id')::uuid
  left join predecessor.kept k on k.table_name = 'user_settings' and k.id = (j.row_data ->> 'id')::uuid and k.digest = md5(j.row_data::text);

-- Keys of the exchange: complete ones; and of who has none, the row that says so (is_empty). What they are, no message and no
-- quarantine says.
create temporary table found_credentials on commit drop as
with given as (
    select (j.row_data ->> 'id')::uuid as id, (j.row_data ->> 'user_id')::uuid as owner_id, u.keeper as user_id, u.okx_uid,
           j.row_data ->> 'api_key' as api_key, j.row_data ->> 'api_secret' as api_secret, j.row_data ->> 'passphrase' as passphrase,
           j.row_data ->> 'deleted_at' is null
               and (u.deleted_at is null or u.keeper_deleted_at is not null) as is_live,    -- not those of a deleted duplicate
           (j.row_data ->> 'deleted_at')::timestamptz as deleted_at,
           u.keeper_deleted_at as user_deleted_at,
           coalesce((j.row_data ->> 'created_at')::timestamptz, now()) as created_at,
           coalesce((j.row_data ->> 'updated_at')::timestamptz, (j.row_data ->> 'created_at')::timestamptz, now()) as updated_at,
           array(select f.name from unnest(array['api_key', 'api_secret', 'passphrase']) as f (name) where j.row_data ->> f.name <> '') as fields,
           u.okx_uid is null or u.okx_uid !~ '^[0-9]{16,20}$' as is_nobodys,
           j.row_data - '{api_key,api_secret,passphrase}'::text[] as row_data
      from predecessor.okx_api_info c
     cross join lateral to_jsonb(c) as j (row_data)
      left join found_users u on u.id = (j.row_data ->> 'user_id')::uuid
), ranked as (
    select g.*, not g.is_nobodys and g.fields = '{}' and g.is_live and g.owner_id = g.user_id and g.user_deleted_at is null
                and row_number() over (partition by g.user_id, g.fields = '{}', g.is_live, g.owner_id = g.user_id order by g.updated_at desc, g.id) = 1
                and not bool_or(g.is_live and cardinality(g.fields) = 3) over (partition by g.user_id) as is_empty
      from given g
)
select r.*, k.row_data as kept,
       case when r.is_nobodys then 'its user can''t be taken'
            when r.is_empty or r.fields = '{}' and k.row_data ->> 'version' <> '0' then null    -- a deletion that was carried back
            when r.fields = '{}' then 'there are no keys in it'
            when cardinality(r.fields) < 3 then format('there is only %s in it', array_to_string(r.fields, ' and '))
       end as reason
  from ranked r
  left join predecessor.kept k on k.table_name = 'okx_api_info' and k.id = r.id and k.digest = md5(r.row_data::text);

insert into predecessor.quarantine
select 'app_users', u.id::text, false, u.reason, u.row_data from found_users u where u.reason is not null
union all
select 'app_users', u.id::text, true, u.no_link, u.row_data from found_users u where u.reason is null and u.no_link is not null
union all
select 'user_settings', s.id::text, false, s.reason, s.row_data from found_settings s where s.reason is not null
union all
select 'user_settings', s.id::text, true,
       'taken as it is, though not what the catalogue wants: ' || string_agg(format('%s %s', p.key, p.problem), '; ' order by p.key), null
  from found_settings s
 cross join lateral validate_user_setting(s.setting_type, s.settings) p
 where s.reason is null
 group by s.id
union all
select 'okx_api_info', c.id::text, false, c.reason, c.row_data from found_credentials c where c.reason is not null;
