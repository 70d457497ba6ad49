-- Reads only.
create or replace function changes_as_json(p_setting_type text, p_old jsonb, p_new jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select coalesce(jsonb_agg(jsonb_build_object('key', c.key, 'change', c.change, 'old', c.old_value, 'new', c.new_value)
                              order by c.key), '[]')
      from _document_changes(p_setting_type, p_old, p_new) c
$$;

comment on function changes_as_json(text, jsonb, jsonb) is
'What differs between two documents, as an array: [{"key", "change", "old", "new"}, …]. Secrets are masked.';
select _allow('changes_as_json', 'admin');
