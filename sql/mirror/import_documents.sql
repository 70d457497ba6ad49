-- Compares documents found in Redis with PostgreSQL, three ways, and takes over what was edited there.
--
-- p_items: [{"owner": OKX UID, "kind": setting type, "version": that Redis was given (0: never by us),
--            "document": what Redis holds (null: nothing), read in our own encoding,
--            "texts": of a hash, texts that may mean something else by the catalogue, see _convert_settings(),
--            "problems": bad key -> why, of keys that couldn't be read at all,
--            "found": what to keep in the history of a document that has such}, …], one item a key.
-- With the version and the history we know what Redis was given, so the outcome of each item is
--   ok         both sides equal
--   same       equal content, but without our version in Redis, or in an older encoding: to be mirrored again
--   stale      Redis still holds what it was given, PostgreSQL is newer: to be mirrored again
--   missing    Redis lost it: to be mirrored again
--   new        PostgreSQL never had one: Redis's becomes version 1, the user is made if need be
--   edited     changed in Redis only: Redis's becomes the next version
--   conflict   changed on both sides: p_prefer decides ('redis', 'db'); without it nothing happens
--   deleted    Redis holds something of a user who was deleted or erased: nothing happens
--   partial    Redis's was taken (new, edited, or by p_prefer), but for bad keys, of which the values in force stay; problems
--              says which and why. The document as it was found is in the history, and the mark goes: Redis is to be left as it
--              is, and only to be told the version, which the result has
--   invalid    Redis's would be taken, but has no valid key: nothing happens; problems says why
-- p_keep_only: PostgreSQL wins everywhere, also over what was edited in Redis (repair, rebuild).
-- A losing Redis document is kept in the history all the same: as a version that the old one replaces
-- again. p_dry_run: the outcomes only. Raises US002, US013 (somebody
-- wrote into a locked key: take the others without it), and US012 in a session confined to another user than all of these. Locks the users, then the active
-- rows concerned.
create or replace function import_documents(
    p_items     jsonb,
    p_prefer    text default null,
    p_keep_only boolean default false,
    p_dry_run   boolean default true
)
returns table (owner text, kind text, outcome text, seen integer, problems jsonb, version integer)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off    -- what is read of tables is looked up by index, whatever the statistics say
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
declare
    v_items  jsonb;
    v_given  text := coalesce(current_setting('settings_store.reason', true), '');
    v_prefer text := coalesce(p_prefer, '');
    v_taken  jsonb;    -- owner and kind of what is taken over at once
begin
    perform check_confinement(i.owner) from jsonb_to_recordset(p_items) as i (owner text) where confined_to() is not null;
    if not p_dry_run then
        perform _check_erasures();
        -- The order of locks: users, then settings. Only then the comparison holds until the end.
        if not p_keep_only then
            insert into app_users (okx_uid)
            select o.owner
              from (select i.item ->> 'owner' as owner, array_agg(i.item order by pg_column_size(i.item)) as items
                      from jsonb_array_elements(p_items) as i (item)
                     where i.item -> 'document' <> 'null'
                       and not exists (select from app_users u where u.okx_uid = i.item ->> 'owner')
                     group by 1
                    offset 0) o    -- few are left
             where not is_erased(o.owner)
               and exists (select from unnest(o.items) as e (item)    -- the shortest first: one valid key will do, and most have that
                            cross join lateral jsonb_to_record(e.item) as i (kind text, document jsonb, texts jsonb, problems jsonb)
                            where _document_problem(i.document) is null
                              and (not exists (select from setting_rules r where r.setting_type = split_part(i.kind, ':', 1))
                                   and exists (select from jsonb_each(i.document) d left join setting_fields f on f.setting_type = split_part(i.kind, ':', 1) and f.key = d.key
                                                where f.key is null or _is_valid_value(f, d.value))
                                   or _take_settings(i.kind, i.document, i.texts, i.problems, null) ->> 'document' is not null))
             order by o.owner
                on conflict (okx_uid) do nothing;
        end if;
        -- One by one, by the unique indexes, whatever the statistics: joined, both tables may be read whole, each batch anew.
        perform from (select distinct i.owner from jsonb_to_recordset(p_items) as i (owner text) order by i.owner) i
          cross join lateral (select from app_users u where u.okx_uid = i.owner for no key update) u;    -- not share: a rival's first save waits
        if not p_keep_only then
            v_taken := (select jsonb_object_agg(concat_ws(' ', t.owner, t.kind), '') from _take_new_documents(p_items) t);
            return query select i.owner, i.kind, 'new', i.version, null::jsonb, null::integer
              from jsonb_to_recordset(p_items) as i (owner text, kind text, version integer) where v_taken ? concat_ws(' ', i.owner, i.kind);
            p_items := (select coalesce(jsonb_agg(i.item), '[]') from jsonb_array_elements(p_items) as i (item)
                         where v_taken ? concat_ws(' ', i.item ->> 'owner', i.item ->> 'kind') is not true);
            if p_items = '[]' then
                return;
            end if;
        end if;
        perform from (select i.owner, i.kind from jsonb_to_recordset(p_items) as i (owner text, kind text) order by i.owner, i.kind) i
          cross join lateral (select from user_settings s where s.user_id = (select u.id from app_users u where u.okx_uid = i.owner)
                                  and s.setting_type = i.kind and s.is_active for no key update) s;
    end if;

    select coalesce(jsonb_agg(to_jsonb(c) || jsonb_build_object(
               'is_taken', not p_keep_only and (c.outcome in ('new', 'edited') or c.outcome = 'conflict' and v_prefer = 'redis'),
               'is_kept', c.outcome = 'conflict' and (p_keep_only or v_prefer = 'db') or c.outcome = 'edited' and p_keep_only)), '[]')
      into v_items
      from _compare_documents(p_items, p_keep_only) c;

    if not p_dry_run then
        perform set_config('settings_store.reason', 'found in Redis', true);
        insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
        select u.id, u.okx_uid, u.telegram_id, i.kind, i.document
          from jsonb_to_recordset(v_items) as i (kind text, user_id uuid, id uuid, document jsonb, is_taken boolean)
          join app_users u on u.id = i.user_id
         where i.is_taken and i.id is null and i.document is not null;

        perform set_config('settings_store.reason', 'edited in Redis', true);
        update user_settings s set settings = i.document, deleted_at = null
          from jsonb_to_recordset(v_items) as i (id uuid, document jsonb, is_taken boolean)
         where s.id = i.id and i.is_taken and i.document is not null;

        perform _keep_losing_document(s.id, i.found)
           from jsonb_to_recordset(v_items)
                as i (kind text, user_id uuid, document jsonb, found jsonb, problems jsonb, is_taken boolean, is_kept boolean)
           join user_settings s on s.user_id = i.user_id and s.setting_type = i.kind and s.is_active
          where i.is_kept or i.is_taken and i.problems is not null and i.document is not null;
        perform set_config('settings_store.reason', v_given, true);

        if v_items @? '$[*].problems ? (@ != null)' then
            delete from mirror_pending m
             using jsonb_to_recordset(v_items) as i (owner text, kind text, document jsonb, problems jsonb, is_taken boolean)
             where m.owner = i.owner and m.kind = i.kind and i.is_taken and i.problems is not null and i.document is not null;
        end if;
    end if;

    if p_dry_run and not p_keep_only and exists (select from setting_locks) then    -- as the trigger would
        perform _check_locks(i.owner, i.kind, s.settings, i.document)
           from jsonb_to_recordset(v_items) as i (owner text, kind text, id uuid, document jsonb, is_taken boolean)
           join user_settings s on s.id = i.id and s.deleted_at is null
          where i.is_taken and i.document is not null;
    end if;

    return query
    select i.owner, i.kind, o.outcome, i.version, i.problems,
           case when o.outcome = 'partial'
                then (select s.version from user_settings s where s.user_id = i.user_id and s.setting_type = i.kind and s.is_active) end
      from jsonb_to_recordset(v_items)
           as i (owner text, kind text, version integer, user_id uuid, outcome text, document jsonb, problems jsonb, is_taken boolean)
     cross join lateral (select case when i.problems is null or not i.is_taken then i.outcome
                                     when i.document is null then 'invalid' else 'partial' end as outcome) o;
end
$$;

comment on function import_documents(jsonb, text, boolean, boolean) is
'Three-way comparison of documents found in Redis with PostgreSQL and its history; takes over what was edited there, key by key as far as the catalogue allows it, or (p_keep_only) keeps it in the history only. The outcome of each item: ok, same, stale, missing, new, edited, conflict, deleted, partial, invalid. Used by sync and verify.';
select _allow('import_documents', 'writer admin');
