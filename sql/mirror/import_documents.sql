-- Compares documents found in Redis with PostgreSQL, three ways, and takes over what was edited there.
--
-- p_items: [{"owner": OKX UID, "kind": setting type, "version": that Redis was given (0: never by us),
--            "document": what Redis holds (null: nothing), read by the catalogue's types,
--            "as_given": the same read in our own encoding, if it differs}, …], one item a key.
-- With the version and the history we know what Redis was given, so the outcome of each item is
--   ok         both sides equal
--   same       equal content, but without our version in Redis: to be mirrored again
--   stale      Redis still holds what it was given, PostgreSQL is newer: to be mirrored again
--   missing    Redis lost it: to be mirrored again
--   new        PostgreSQL never had one: Redis's becomes version 1, the user is made if need be
--   edited     changed in Redis only: Redis's becomes the next version
--   conflict   changed on both sides: p_prefer decides ('redis', 'db'); without it nothing happens
--   deleted    Redis holds something of a user who was deleted or erased: nothing happens
--   invalid    Redis's would be saved, but is not valid: nothing happens; problems says why
-- p_keep_only: PostgreSQL wins everywhere, also over what was edited in Redis (repair, rebuild).
-- A losing Redis document is kept in the history all the same: as a version that the old one replaces
-- again. p_dry_run: the outcomes only. Raises US002, and US012 in a
-- session confined to another user than all of these. Locks the users, then the active
-- rows concerned.
create or replace function import_documents(
    p_items     jsonb,
    p_prefer    text default null,
    p_keep_only boolean default false,
    p_dry_run   boolean default true
)
returns table (owner text, kind text, outcome text, seen integer, problems jsonb)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off    -- what is read of tables is looked up by index, whatever the statistics say
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    v_items      jsonb;
    v_given      text := coalesce(current_setting('settings_store.reason', true), '');
    v_is_checked boolean := p_dry_run;    -- whether each is validated beforehand
begin
    perform check_confinement(i.owner) from jsonb_to_recordset(p_items) as i (owner text) where confined_to() is not null;
    if not p_dry_run then
        perform _check_erasures();
    end if;
    -- At first as if all were valid: the trigger looks at each anyway. If it refuses one, again, to tell which and why.
    loop
    begin
        if not p_dry_run then
            -- The order of locks: users, then settings. Only then the comparison holds until the end.
            if not p_keep_only then
                insert into app_users (okx_uid)
                select distinct i.owner
                  from (select r.* from jsonb_to_recordset(p_items) as r (owner text, kind text, document jsonb)
                         where r.document <> 'null' and not exists (select from app_users u where u.okx_uid = r.owner)
                           and not is_erased(r.owner)
                        offset 0) i    -- few are left to be validated
                 where not v_is_checked or not exists (select from validate_user_setting(i.kind, i.document))
                 order by i.owner
                    on conflict (okx_uid) do nothing;
            end if;
            -- One by one, by the unique indexes, whatever the statistics: joined, both tables may be read whole, each batch anew.
            perform from (select distinct i.owner from jsonb_to_recordset(p_items) as i (owner text) order by i.owner) i
              cross join lateral (select from app_users u where u.okx_uid = i.owner for no key update) u;    -- not share: a rival's first save waits
            perform from (select i.owner, i.kind from jsonb_to_recordset(p_items) as i (owner text, kind text) order by i.owner, i.kind) i
              cross join lateral (select from user_settings s where s.user_id = (select u.id from app_users u where u.okx_uid = i.owner)
                                      and s.setting_type = i.kind and s.is_active for no key update) s;
        end if;

        select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_items from (
            select i.owner, i.kind, i.version, s.id, o.outcome,
                   case when o.outcome in ('new', 'edited', 'conflict') then i.document end as document,
                   case when not p_keep_only and (o.outcome in ('new', 'edited') and v_is_checked
                                                  or o.outcome = 'conflict' and p_prefer is distinct from 'db')
                        then (select jsonb_object_agg(p.key, p.problem) from validate_user_setting(i.kind, i.document) p)
                   end as problems
              from (select r.owner, r.kind, r.version, nullif(r.document, 'null') as document, r.as_given
                      from jsonb_to_recordset(p_items)
                        as r (owner text, kind text, version integer, document jsonb, as_given jsonb)) i
              left join app_users u on u.okx_uid = i.owner
              left join user_settings s on s.user_id = u.id and s.setting_type = i.kind and s.is_active
              left join user_settings base on base.user_id = u.id and base.setting_type = i.kind and base.version = i.version
              left join mirror_pending m on m.owner = i.owner and m.kind = i.kind
              left join mirror_pending e on e.owner = i.owner and e.erased and position(':' in i.kind) > 0
                                            and e.kind = _with_symbol(split_part(i.kind, ':', 1), '*')    -- an erased person's symbols
             cross join lateral (select case when s.deleted_at is null then s.settings end as active,
                                        case when base.deleted_at is null then base.settings end as given) d
             cross join lateral (select case
                   when s.version is null and i.document is null then 'ok'
                   when u.deleted_at is not null and i.document is not null and not p_keep_only then 'deleted'
                   when m.erased or e.erased and s.version is null or u.id is null and is_erased(i.owner) then 'deleted'
                   when m.discards then 'stale'
                   when s.version is null then 'new'
                   when i.document is not distinct from d.active or i.as_given = d.active then case when i.version = s.version then 'ok' else 'same' end
                   when i.document is null then 'missing'
                   when i.version = s.version then 'edited'
                   when i.version between 1 and s.version
                        and (i.document is not distinct from d.given or i.as_given = d.given) then 'stale'
                   else 'conflict' end as outcome) o) c;

        if not p_dry_run then
            perform set_config('settings_store.reason', 'found in Redis', true);
            insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
            select u.id, u.okx_uid, u.telegram_id, i.kind, i.document
              from jsonb_to_recordset(v_items) as i (owner text, kind text, outcome text, document jsonb, problems jsonb)
              join app_users u on u.okx_uid = i.owner
             where i.outcome = 'new' and i.problems is null and not p_keep_only;

            perform set_config('settings_store.reason', 'edited in Redis', true);
            update user_settings s set settings = i.document, deleted_at = null
              from jsonb_to_recordset(v_items) as i (id uuid, outcome text, document jsonb, problems jsonb)
             where s.id = i.id and i.problems is null and not p_keep_only
               and (i.outcome = 'edited' or i.outcome = 'conflict' and p_prefer = 'redis');

            perform _keep_losing_document(i.id, i.document)
               from jsonb_to_recordset(v_items) as i (id uuid, outcome text, document jsonb)
              where i.document is not null
                and (i.outcome = 'conflict' and (p_keep_only or p_prefer = 'db') or i.outcome = 'edited' and p_keep_only);
            perform set_config('settings_store.reason', v_given, true);
        end if;
        exit;
    exception when sqlstate 'US003' then
        if v_is_checked then
            raise;
        end if;
        v_is_checked := true;
    end;
    end loop;

    return query
    select i.owner, i.kind, case when i.problems is null then i.outcome else 'invalid' end, i.version, i.problems
      from jsonb_to_recordset(v_items) as i (owner text, kind text, version integer, outcome text, problems jsonb);
end
$$;

comment on function import_documents(jsonb, text, boolean, boolean) is
'Three-way comparison of documents found in Redis with PostgreSQL and its history; takes over what was edited there, or (p_keep_only) keeps it in the history only. The outcome of each item: ok, same, stale, missing, new, edited, conflict, deleted, invalid. Used by sync and verify.';
select _allow('import_documents', 'writer admin');
