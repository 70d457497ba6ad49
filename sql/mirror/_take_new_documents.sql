-- Takes over at once the documents that PostgreSQL never had, and that the catalogue allows as they are or converted: one
-- statement for all. What is left of p_items (a bad key, an erased person's, a version there already) import_documents() compares.
-- The triggers know by a permit that the documents are checked, the users alive and locked, and the keys marked here.
-- The caller has locked the users.
create or replace function _take_new_documents(p_items jsonb)
returns table (owner text, kind text)
language plpgsql
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off    -- as in import_documents()
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_given text := coalesce(current_setting('settings_store.reason', true), '');
begin
    insert into trigger_permits (permit) values ('taken over');
    perform set_config('settings_store.reason', 'found in Redis', true);
    return query
    with found as materialized (
        select i.owner, i.kind, i.id, i.telegram_id, t.document
          from (select r.*, u.id, u.telegram_id
                  from jsonb_to_recordset(p_items) as r (owner text, kind text, document jsonb, texts jsonb, problems jsonb)
                  join app_users u on u.okx_uid = r.owner and u.deleted_at is null
                 where r.document is not null and r.problems is null
                   and not exists (select from user_settings s where s.user_id = u.id and s.setting_type = r.kind)
                   and not exists (select from mirror_pending m where m.owner = r.owner and m.kind = r.kind)
                   and not exists (select from mirror_pending m where m.owner = r.owner and m.erased)
                offset 0) i    -- before anything is looked into
         cross join lateral (select case when i.texts is null and _document_problem(i.document) is null
                                              and not exists (select from _suspect_parts(split_part(i.kind, ':', 1), i.document))
                                         then jsonb_build_object('document', i.document)
                                         else _take_settings(i.kind, i.document, i.texts, null, null) end as taken offset 0) l
         cross join lateral (select nullif(l.taken -> 'document', 'null') as document where coalesce(l.taken -> 'problems', 'null') = 'null') t
         where t.document is not null
    ), saved as (
        insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
        select f.id, f.owner, f.telegram_id, f.kind, f.document from found f
    ), marked as (
        insert into mirror_pending (owner, kind, version)
        select f.owner, f.kind, 1 from found f order by f.owner, f.kind
    )
    select f.owner, f.kind from found f;
    perform set_config('settings_store.reason', v_given, true);
    delete from trigger_permits p where p.permit = 'taken over';
end
$$;

comment on function _take_new_documents(jsonb) is
'Takes over the documents found in Redis that PostgreSQL never had and finds no fault with, and returns which. Used by import_documents().';
select _allow('_take_new_documents');
