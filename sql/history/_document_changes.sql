-- Reads only.
create or replace function _document_changes(p_setting_type text, p_old jsonb, p_new jsonb)
returns table (key text, change text, old_value jsonb, new_value jsonb)
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select coalesce(o.key, n.key),
           case when o.key is null then 'added' when n.key is null then 'removed' else 'changed' end,
           case when f.is_secret and o.value <> 'null' then secret_mask() else o.value end,
           case when f.is_secret and n.value <> 'null' then secret_mask() else n.value end
      from jsonb_each(p_old) o
      full join jsonb_each(p_new) n on n.key = o.key
      left join setting_fields f on f.setting_type = split_part(p_setting_type, ':', 1) and f.key = coalesce(o.key, n.key)
     where o.value is distinct from n.value
     order by 1
$$;

comment on function _document_changes(text, jsonb, jsonb) is
'What differs between two documents: a row per key with change added, removed or changed. Secrets are masked.';
select _allow('_document_changes', 'admin');
