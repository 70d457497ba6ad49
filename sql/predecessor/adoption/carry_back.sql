-- Before a rollback: what was saved since the adoption goes into the predecessor's tables. A row that nobody changed since (see
-- predecessor.taken) stays as it was there; of one that was changed, the columns that were; rows made since are inserted.
-- Columns by name. A row that doesn't fit is named, and nothing is rolled back.
set local timezone = 'UTC';    -- digests are of times as text
alter table predecessor.app_users disable trigger user;
alter table predecessor.user_settings disable trigger user;
alter table predecessor.okx_api_info disable trigger user;

-- The store's rows, without documents and keys, as they are and as they were taken.
create temporary table store_rows on commit drop as
select s.*, t.row_data as taken, s.row_data ->> 'version' = '0' as is_empty
  from (select 'app_users' as table_name, u.id, u.id as user_id, null::text as setting_type, to_jsonb(u) as row_data from public.app_users u
        union all
        select 'user_settings', s.id, s.user_id, s.setting_type, to_jsonb(s) - 'settings' from public.user_settings s
        union all
        select 'okx_api_info', c.id, c.user_id, '', to_jsonb(c) - '{api_key,api_secret,passphrase}'::text[] from public.okx_api_info c) s
  left join predecessor.taken t using (table_name, id)
 where s.row_data ->> 'okx_uid' <> '00000000000000000001';    -- the relay's probe is no user: probe_okx_uid(), which older releases lack

create temporary table old_rows on commit drop as
select 'app_users' as table_name, p.id, p.id as user_id, null::text as setting_type, to_jsonb(p) as row_data from predecessor.app_users p
union all
select 'user_settings', p.id, p.user_id, p.setting_type, to_jsonb(p) - 'settings' from predecessor.user_settings p
union all
select 'okx_api_info', p.id, p.user_id, '', to_jsonb(p) - '{api_key,api_secret,passphrase}'::text[] from predecessor.okx_api_info p;
create unique index on old_rows (table_name, id);

-- Chains of versions to which something was added, and the Telegram IDs that were linked.
create temporary table chains on commit drop as
select r.table_name, r.user_id, r.setting_type, bool_or((r.row_data ->> 'is_active')::boolean and r.row_data ->> 'deleted_at' is null) as is_live
  from store_rows r
 where r.table_name <> 'app_users' and not r.is_empty
 group by 1, 2, 3
having bool_or(r.taken is null or (r.row_data -> 'version', r.row_data -> 'is_active') is distinct from (r.taken -> 'version', r.taken -> 'is_active'));
create temporary table linked on commit drop as
select r.id as user_id, r.row_data ->> 'telegram_id' as telegram_id
  from store_rows r
 where r.table_name = 'app_users' and r.row_data ->> 'telegram_id' is not null and r.row_data -> 'telegram_id' is distinct from r.taken -> 'telegram_id';

-- What is to be written, in this order: first what stops to be live, or to have what is somebody else's by now.
create temporary table patches on commit drop as
select 0 as step, o.table_name, o.id, false as is_new, false as is_content,
       case o.table_name when 'user_settings' then jsonb_build_object('is_active', false)
                         else jsonb_build_object('is_active', false, 'deleted_at', coalesce(s.row_data -> 'deleted_at', to_jsonb(now()))) end as patch
  from chains c    -- versions that were live, and rows in quarantine that have a successor
  join old_rows o using (table_name, user_id, setting_type)
  left join store_rows s using (table_name, id)
 where o.row_data ->> 'deleted_at' is null and coalesce(o.row_data ->> 'is_active', 'true') = 'true'
   and (s.row_data ->> 'is_active' = 'false' and s.user_id = o.user_id or s.id is null and c.is_live)
union all
select 0, o.table_name, o.id, false, false, '{"telegram_id": null, "telegram_userid": null, "telegram_linked": false}'
  from linked l
  join old_rows o on l.telegram_id in (btrim(o.row_data ->> 'telegram_id'), btrim(o.row_data ->> 'telegram_userid'))
                 and o.table_name <> 'user_settings' and o.user_id <> l.user_id
union all    -- rows that the store hasn't, or only as history
select 0, o.table_name, o.id, false, false,
       jsonb_build_object('telegram_id', s.row_data -> 'telegram_id', 'telegram_linked', s.row_data ->> 'telegram_id' is not null)
  from store_rows s
  join old_rows o on o.table_name = 'okx_api_info' and o.user_id = s.id and o.row_data ->> 'deleted_at' is null and o.row_data ->> 'telegram_id' is not null
 where s.table_name = 'app_users' and s.taken is not null and s.row_data -> 'telegram_id' is distinct from s.taken -> 'telegram_id'
union all    -- whose link stood in a row of keys that is deleted now, perhaps
select 0, 'app_users', o.id, false, false, jsonb_build_object('telegram_id', s.row_data -> 'telegram_id', 'telegram_userid', s.row_data -> 'telegram_id',
                                                              'telegram_linked', true)
  from chains c
  join store_rows s on s.table_name = 'app_users' and s.id = c.user_id and s.row_data ->> 'telegram_id' is not null
  join old_rows o on o.table_name = s.table_name and o.id = s.id and coalesce(o.row_data ->> 'telegram_id', o.row_data ->> 'telegram_userid') is null
 where c.table_name = 'okx_api_info'
union all
select 0, 'app_users', o.id, false, false, jsonb_build_object('email', format('%s#%s', o.row_data ->> 'email', o.id))
  from old_rows o
  join store_rows s on s.table_name = 'app_users' and s.id <> o.id and s.row_data ->> 'email' = o.row_data ->> 'email'
 where o.table_name = 'app_users' and not exists (select from public.app_users u where u.id = o.id)
union all
select 1, s.table_name, s.id, o.id is null,
       s.taken is null or o.id is null or s.row_data -> 'version' <> s.taken -> 'version',
       (select jsonb_object_agg(e.key, e.value) from jsonb_each(s.row_data) e where s.taken is null or o.id is null or e.value is distinct from s.taken -> e.key)
       || case when s.table_name = 'app_users' and s.row_data ? 'email'
               then jsonb_build_object('email', coalesce(s.row_data ->> 'email', format('uid_%s@autogen.tradingboost', s.row_data ->> 'okx_uid')))
               else '{}' end
  from store_rows s
  left join old_rows o using (table_name, id)
 where (s.taken is null or not s.row_data @> s.taken)
   -- for old code there is a row of who has no credentials: not if there was none, and nothing was written there
   and (not s.is_empty or o.id is not null
        or s.row_data ->> 'deleted_at' is null
           and (s.taken is not null or not exists (select from predecessor.app_users p where p.id = s.user_id)));

do $$
declare
    v_table   text;
    v_columns text;
    v_values  text;
    v_content text;
    v_patch   patches;
begin
    foreach v_table in array array['app_users', 'user_settings', 'okx_api_info'] loop
        select string_agg(format('%I', a.attname), ', '), string_agg(format('r.%I', a.attname), ', ') into v_columns, v_values
          from pg_attribute a
         where a.attrelid = to_regclass('predecessor.' || v_table) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
           and exists (select from pg_attribute o
                        where o.attrelid = to_regclass('public.' || v_table) and o.attname = a.attname and not o.attisdropped);
        v_content := format('$1 || case when $2 then (select to_jsonb(c) from (select %s from public.%I o where o.id = $3) c) else ''{}'' end',
                            case v_table when 'app_users' then 'o.id' when 'user_settings' then 'o.settings' else 'o.api_key, o.api_secret, o.passphrase' end, v_table);
        for v_patch in select * from patches p where p.table_name = v_table order by p.step, p.is_new, p.id loop
            if v_patch.is_new then
                execute format('insert into predecessor.%1$I (%2$s) select %3$s from jsonb_populate_record(null::predecessor.%1$I, %4$s) r',
                               v_table, v_columns, v_values, v_content)
                  using v_patch.patch, v_patch.is_content, v_patch.id;
            else
                execute format('update predecessor.%1$I p set (%2$s) = (select %3$s from jsonb_populate_record(p, %4$s) r) where p.id = $3',
                               v_table, v_columns, v_values, v_content)
                  using v_patch.patch, v_patch.is_content, v_patch.id;
            end if;
        end loop;
    end loop;
exception
    when others then
        raise exception using errcode = 'US010',
            message = format('row %s of %s doesn''t fit into the older table: %s', v_patch.id, v_table, sqlerrm),
            hint = coalesce('It is of user ' || (select u.okx_uid from store_rows s join public.app_users u on u.id = s.user_id
                                                  where s.table_name = v_table and s.id = v_patch.id) || '. ', '')
                   || 'Nothing was rolled back: change the row, or the older table in the schema predecessor.';
end
$$;

-- What the older tables have no columns for, to be found when the database is adopted again.
delete from predecessor.kept;
insert into predecessor.kept (table_name, id, digest, row_data)
select s.table_name, s.id, md5(o.row_data::text), s.row_data
  from store_rows s
  left join (select 'user_settings' as table_name, p.id, to_jsonb(p) as row_data from predecessor.user_settings p
             union all
             select 'okx_api_info', p.id, to_jsonb(p) - '{api_key,api_secret,passphrase}'::text[] from predecessor.okx_api_info p) o using (table_name, id)
 where s.table_name <> 'app_users';

alter table predecessor.app_users enable trigger user;
alter table predecessor.user_settings enable trigger user;
alter table predecessor.okx_api_info enable trigger user;
