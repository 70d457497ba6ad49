-- For whoever takes back what it once changed: the end of a scheduled change, the end of a rollout. Key by key, as two people may
-- have changed one document since. Keys of the document itself only: a nested value is one value.
-- p_before null: there was no document. Then document is null where nothing else is in it now: it is to be deleted again.
create or replace function _without_change(
    p_document   jsonb,
    p_before     jsonb,
    p_after      jsonb,
    out document jsonb,
    out kept     text[]
)
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    with changed as (
        select k.key, coalesce(p_before, '{}') -> k.key as before,
               p_document -> k.key is not distinct from p_after -> k.key as is_as_left
          from (select jsonb_object_keys(coalesce(p_before, '{}')) union select jsonb_object_keys(p_after)) k (key)
         where coalesce(p_before, '{}') -> k.key is distinct from p_after -> k.key
    ), result as (
        select (p_document - coalesce(array_agg(c.key) filter (where c.is_as_left and c.before is null), '{}'))
               || coalesce(jsonb_object_agg(c.key, c.before) filter (where c.is_as_left and c.before is not null), '{}') as document,
               coalesce(array_agg(c.key order by c.key) filter (where not c.is_as_left), '{}') as kept
          from changed c
    )
    select case when p_before is null and r.document = '{}' then null else r.document end, r.kept from result r
$$;

comment on function _without_change(jsonb, jsonb, jsonb) is
'A document without a change that was once made to it (p_before became p_after): each key it changed gets back the value it had, unless it was changed again since; kept: those keys. document is null if there was none before and nothing else is in it.';
select _allow('_without_change', 'admin');
