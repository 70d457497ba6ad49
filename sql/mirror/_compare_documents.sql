-- Compares documents found in Redis with PostgreSQL, three ways: p_items and the outcomes as import_documents() has them, but
-- for `partial` and `invalid`, which depend on who wins. document: what would be saved, bad keys having the values that are in
-- force; null: nothing can be, or p_keep_only. found: what is kept in the history if it isn't. problems: bad key -> why.
-- An older encoding of what is in force is `same`, by the rule of _convert_settings(). A confined session: of its user only.
-- Reads by index, whatever the statistics say.
create or replace function _compare_documents(p_items jsonb, p_keep_only boolean)
returns table (owner text, kind text, version integer, user_id uuid, id uuid, outcome text, document jsonb, found jsonb, problems jsonb)
language plpgsql stable    -- not sql: the plan is kept
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
begin
    return query
    select i.owner, i.kind, i.version, u.id, s.id, o.outcome,
           case when o.outcome in ('new', 'edited', 'conflict') and not p_keep_only then k.document end,
           case when o.outcome = 'conflict' or o.outcome in ('new', 'edited') and (p_keep_only or k.problems is not null)
                then coalesce(i.found, i.document) end,
           case when o.outcome in ('new', 'edited', 'conflict') then k.problems end
      from jsonb_to_recordset(p_items)
        as i (owner text, kind text, version integer, document jsonb, texts jsonb, problems jsonb, found jsonb)
      left join app_users u on u.okx_uid = i.owner
      left join user_settings s on s.user_id = u.id and s.setting_type = i.kind and s.is_active
      left join user_settings base on base.user_id = u.id and base.setting_type = i.kind and base.version = i.version
      left join mirror_pending m on m.owner = i.owner and m.kind = i.kind
      left join mirror_pending w on w.owner = i.owner and w.erased and position(':' in i.kind) > 0
                                    and w.kind = _with_symbol(split_part(i.kind, ':', 1), '*')    -- an erased person's symbols
     cross join lateral (select case when s.deleted_at is null then s.settings end as active,
                                case when base.deleted_at is null then base.settings end as given) d
     cross join lateral (select i.problems is null and (i.document is not distinct from d.active) as is_active,
                                i.problems is null and (i.document is not distinct from d.given) as is_given) e
     cross join lateral (select case when i.document is null or e.is_active or e.is_given then null
                                     when p_keep_only    -- nothing is saved of it, so nothing needs to be valid
                                     then jsonb_build_object('problems', i.problems,
                                                             'document', _convert_settings(i.kind, i.document, coalesce(i.texts, '{}')))
                                     else _take_settings(i.kind, i.document, i.texts, i.problems, d.active) end as taken offset 0) t
     cross join lateral (select nullif(t.taken -> 'problems', 'null') as problems,
                                nullif(t.taken -> 'document', 'null') as valid) v
     cross join lateral (select v.problems,
                                case when v.problems is null then coalesce(v.valid, i.document) else v.valid end as document) k
     cross join lateral (select case
           when s.version is null and i.document is null then 'ok'
           when u.deleted_at is not null and i.document is not null and not p_keep_only then 'deleted'
           when m.erased or w.erased and s.version is null or u.id is null and is_erased(i.owner) then 'deleted'
           when m.discards then 'stale'
           when s.version is null then 'new'
           when e.is_active then case when i.version = s.version then 'ok' else 'same' end
           when i.document is null then 'missing'
           when k.document = d.active then case when k.problems is null then 'same' else 'edited' end
           when i.version = s.version then 'edited'
           when i.version between 1 and s.version and (e.is_given or k.problems is null and k.document = d.given) then 'stale'
           else 'conflict' end as outcome) o
     where i.owner = coalesce((select confined_to()), i.owner);
end
$$;

comment on function _compare_documents(jsonb, boolean) is
'Three-way comparison of documents found in Redis with PostgreSQL and its history: per item the outcome, what could be saved of it, and its bad keys. Used by import_documents().';
select _allow('_compare_documents', 'admin');
