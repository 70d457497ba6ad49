-- What lets code of the older schema go on beside the store's, in an adopted database only: the columns that its statements
-- name, and triggers that keep them and translate its writes. By each `migrate`; gone with the schema predecessor.
--   adopted_…      before the store's triggers
--   zz_adopted_…   after them
-- Old code knows no versions: it must find a row of okx_api_info (deleted_at is null) for each user, and no more than one. So
-- an archived version has deleted_at, and who has no credentials has a row of version 0, hidden (deleted_at) from others.

-- Columns that other programs use stay, with their defaults and indexes, but not as a must: the store doesn't fill them.
create temporary table extra_columns on commit drop as
select t.name, a.attnum, a.attname,
       case when a.attname in ('telegram_id', 'telegram_userid') then 'text' else format_type(a.atttypid, a.atttypmod) end
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as definition
  from unnest(array['app_users', 'okx_api_info']) t (name)
  join pg_attribute a on a.attrelid = format('predecessor.%I', t.name)::regclass and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated = ''
 where not exists (select from pg_attribute o
                    where o.attrelid = format('public.%I', t.name)::regclass and o.attname = a.attname and not o.attisdropped);

do $$
declare
    v_statement text;
begin
    for v_statement in
        select s.statement
          from (select 0 as step, c.attnum as nth, format('alter table public.%I add column %I %s', c.name, c.attname, c.definition) as statement
                  from extra_columns c
                union all
                select 1, i.indexrelid::bigint, replace(pg_get_indexdef(i.indexrelid), ' ON predecessor.', ' ON public.')
                  from pg_index i
                  join pg_class t on t.oid = i.indrelid
                 where t.relnamespace = 'predecessor'::regnamespace and not i.indisprimary
                   and i.indkey::smallint[] <@ array(select c.attnum from extra_columns c where c.name = t.relname)
                union all
                select 2, 0, format('alter table public.%1$I disable trigger user;
                                     update public.%1$I o set (%2$s) = (select %2$s from jsonb_populate_record(o, to_jsonb(p)) r)
                                       from predecessor.%1$I p where p.id = o.id;
                                     alter table public.%1$I enable trigger user', c.name, string_agg(format('%I', c.attname), ', '))
                  from extra_columns c
                 group by c.name) s
         order by s.step, s.nth
    loop
        execute v_statement;
    end loop;
end
$$;
alter table public.app_users
    add column if not exists telegram_userid text,
    add column if not exists telegram_linked boolean default false,
    add column if not exists okx_linked boolean default false;
alter table public.okx_api_info
    add column if not exists telegram_id text,
    add column if not exists telegram_linked boolean default false,
    add column if not exists okx_linked boolean default false,
    add column if not exists exchange text default 'okx';

-- A link is telegram_id; of the columns that say the same, the one that a statement changes counts.
create or replace function predecessor.for_old_code_user()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_patch jsonb := '{}';
begin
    if tg_op = 'INSERT' then
        new.telegram_id := coalesce(new.telegram_id, new.telegram_userid);
        v_patch := jsonb_build_object('email', coalesce(to_jsonb(new) ->> 'email', format('uid_%s@autogen.tradingboost', new.okx_uid)));
    elsif new.telegram_id is not distinct from old.telegram_id then
        if new.telegram_userid is distinct from old.telegram_userid then
            new.telegram_id := new.telegram_userid;
        elsif old.telegram_linked and not new.telegram_linked then
            new.telegram_id := null;
        end if;
    end if;
    if tg_op = 'INSERT' or new.telegram_id is distinct from old.telegram_id then
        new.telegram_userid := new.telegram_id;
        new.telegram_linked := new.telegram_id is not null;
        new.okx_linked := true;
    end if;
    if tg_op = 'UPDATE' and (new.deleted_at is null) <> (old.deleted_at is null) then
        v_patch := jsonb_build_object('is_active', new.deleted_at is null);
    end if;
    if v_patch <> '{}' then    -- not every such table has these columns
        new := jsonb_populate_record(new, v_patch);
    end if;
    return new;
end
$$;

-- A link that comes, goes or moves is the same in okx_api_info, and nobody else's any more.
create or replace function predecessor.for_old_code_link()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        insert into okx_api_info (user_id, okx_uid, version, is_active, telegram_id, telegram_linked, okx_linked)
        values (new.id, new.okx_uid, 0, false, new.telegram_id, new.telegram_linked, new.okx_linked);
    elsif new.telegram_id is distinct from old.telegram_id then
        update okx_api_info c set telegram_id = new.telegram_id, telegram_linked = new.telegram_linked
         where c.user_id = new.id and (c.is_active or c.version = 0) and c.telegram_id is distinct from new.telegram_id;
    end if;
    if new.telegram_id is not null and (tg_op = 'INSERT' or new.telegram_id is distinct from old.telegram_id) then
        update app_users u set telegram_userid = null
         where u.telegram_userid = new.telegram_id and u.telegram_id is null;
        update okx_api_info c set telegram_id = null, telegram_linked = false
         where c.telegram_id = new.telegram_id and c.user_id <> new.id and (c.is_active or c.version = 0);
    end if;
    return null;
end
$$;

-- Old code inserts another row where the store makes another version, inserts one without keys for a new user, and changes
-- rows without looking whether they are history.
create or replace function predecessor.for_old_code_credentials()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_given text[];
begin
    if not new.is_active and tg_op = 'INSERT' then
        new.deleted_at := case when new.version > 0 then coalesce(new.deleted_at, clock_timestamp()) else new.deleted_at end;
        return new;
    end if;
    if tg_op = 'INSERT' and new.telegram_id is null then
        select u.telegram_id, u.telegram_linked, u.okx_linked into new.telegram_id, new.telegram_linked, new.okx_linked
          from app_users u where u.id = new.user_id;
    end if;
    if tg_op = 'INSERT' and confined_to() is not null then
        perform check_confinement((select u.okx_uid from app_users u where u.id = new.user_id));
    end if;
    new.api_key := nullif(new.api_key, '');
    new.api_secret := nullif(new.api_secret, '');
    new.passphrase := nullif(new.passphrase, '');
    if tg_op = 'UPDATE' and not old.is_active and old.version > 0 then
        return case when new.deleted_at is not null and (new.api_key, new.api_secret, new.passphrase)
                                                        is not distinct from (old.api_key, old.api_secret, old.passphrase)
                    then null else new end;    -- history stays; ciphertext made anew has a permit
    end if;
    if new.deleted_at is not null or (tg_op = 'UPDATE' and old.is_active) or _is_encrypted(new) and new.api_key is not null then
        return new;
    end if;

    v_given := array(select f.name from (values ('api_key', new.api_key), ('api_secret', new.api_secret), ('passphrase', new.passphrase))
                                        as f (name, text) where f.text is not null);
    if cardinality(v_given) between 1 and 2 then
        raise exception using errcode = 'US003', message = 'invalid credentials',
            detail = format('{"$": "there is only %s"}', array_to_string(v_given, ' and ')),
            hint = 'Save api_key, api_secret and passphrase in one statement.';
    elsif tg_op = 'INSERT' and cardinality(v_given) = 0 then
        update okx_api_info c
           set telegram_id = coalesce(new.telegram_id, c.telegram_id), telegram_linked = new.telegram_linked, okx_linked = new.okx_linked
         where c.user_id = new.user_id and c.version = 0;
        return null;
    elsif tg_op = 'INSERT' then
        insert into trigger_permits (permit, id) select 'succeeded', c.id from okx_api_info c where c.user_id = new.user_id and c.is_active;
        update okx_api_info c set is_active = false, deleted_at = coalesce(c.deleted_at, clock_timestamp())
         where c.user_id = new.user_id and c.is_active;
        delete from trigger_permits p where p.permit = 'succeeded';
    elsif cardinality(v_given) = 3 then    -- into the row of version 0
        insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase, telegram_id, telegram_linked, okx_linked, exchange)
        values (new.user_id, new.okx_uid, new.api_key, new.api_secret, new.passphrase,
                new.telegram_id, new.telegram_linked, new.okx_linked, new.exchange);
        return null;
    end if;
    return new;
end
$$;

-- A user has either credentials or the row of version 0. A link that old code changes here only is the user's, too.
create or replace function predecessor.for_old_code_credentials_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if new.is_active then
        update okx_api_info c set deleted_at = case when new.deleted_at is null then clock_timestamp() end
         where c.user_id = new.user_id and c.version = 0 and (c.deleted_at is null) = (new.deleted_at is null);
    end if;
    if (new.is_active or new.version = 0) and new.deleted_at is null and (tg_op = 'INSERT' or new.telegram_id is distinct from old.telegram_id) then
        update app_users u set telegram_id = new.telegram_id
         where u.id = new.user_id and u.deleted_at is null and u.telegram_id is distinct from new.telegram_id;
    end if;
    return null;
end
$$;

-- A document inserted after a deletion is the next version; a statement that doesn't look whether rows are active leaves history
-- alone; one that counts versions itself may find that nothing changes.
create or replace function predecessor.for_old_code_settings()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if old.is_active and new.version = old.version + 1 then
        new.version := old.version;
    end if;
    return case when not old.is_active and not new.is_active and new.settings = old.settings then null else new end;
end
$$;

create or replace function predecessor.for_old_code_insert()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_newest integer;
begin
    if tg_table_name = 'user_settings' then
        insert into trigger_permits (permit, id)
        select 'succeeded', s.id from user_settings s
         where s.user_id = new.user_id and s.setting_type = new.setting_type and s.is_active and s.deleted_at is not null;
        if found then
            update user_settings s set is_active = false
             where s.user_id = new.user_id and s.setting_type = new.setting_type and s.is_active and s.deleted_at is not null;
            delete from trigger_permits p where p.permit = 'succeeded';
        end if;
        select max(s.version) into v_newest from user_settings s where s.user_id = new.user_id and s.setting_type = new.setting_type;
    else
        select max(c.version) into v_newest from okx_api_info c where c.user_id = new.user_id;
    end if;
    new.version := coalesce(v_newest, 0) + 1;
    return new;
end
$$;

do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure from pg_proc p where p.pronamespace = 'predecessor'::regnamespace and p.proname like 'for\_old\_code\_%'
    loop
        execute format('revoke execute on function %s from public', v_function);
    end loop;
end
$$;

create or replace trigger adopted_user before insert or update on public.app_users
    for each row execute function predecessor.for_old_code_user();
create or replace trigger zz_adopted_link after insert or update on public.app_users
    for each row execute function predecessor.for_old_code_link();
create or replace trigger adopted_credentials before insert or update on public.okx_api_info
    for each row execute function predecessor.for_old_code_credentials();
create or replace trigger zz_adopted_insert before insert on public.okx_api_info
    for each row when (new.is_active) execute function predecessor.for_old_code_insert();
create or replace trigger zz_adopted_changed after insert or update on public.okx_api_info
    for each row execute function predecessor.for_old_code_credentials_changed();
create or replace trigger adopted_settings before update on public.user_settings
    for each row execute function predecessor.for_old_code_settings();
create or replace trigger zz_adopted_insert before insert on public.user_settings
    for each row when (new.is_active) execute function predecessor.for_old_code_insert();

alter table public.okx_api_info disable trigger user;
update public.okx_api_info c
   set deleted_at = coalesce((select (to_jsonb(p) ->> 'deleted_at')::timestamptz from predecessor.okx_api_info p where p.id = c.id),
                             (select min(n.updated_at) from public.okx_api_info n where n.user_id = c.user_id and n.version > c.version), c.updated_at)
 where not c.is_active and c.api_key is not null and c.deleted_at is null;    -- of an earlier release, or of its backup
alter table public.okx_api_info enable trigger user;
insert into public.okx_api_info (user_id, okx_uid, version, is_active, deleted_at, telegram_id, telegram_linked, okx_linked, changed_by)
select u.id, u.okx_uid, 0, false, case when c.deleted_at is null then c.updated_at end, u.telegram_id, u.telegram_linked, u.okx_linked, 'predecessor'
  from public.app_users u
  left join public.okx_api_info c on c.user_id = u.id and c.is_active
 where not exists (select from public.okx_api_info o where o.user_id = u.id and o.version = 0);

-- Old code writes plain text, which the trigger okx_api_info_version accepts as long as the schema predecessor is there.
alter table public.okx_api_info drop constraint if exists okx_api_info_ciphertext;
delete from public.schema_parts p where p.name = 'constraint okx_api_info_ciphertext of okx_api_info';
