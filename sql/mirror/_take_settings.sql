-- What can be taken of a document that somebody wrote into Redis: {"document": its valid keys, converted by the catalogue,
-- "problems": bad key -> why}. document is null if nothing is left; problems is null if all is well. p_problems: what the
-- reader couldn't pass on (NaN, say). Key '$' is the document as a whole: then nothing can be taken. Reads only.
create or replace function _take_settings(p_setting_type text, p_settings jsonb, p_texts jsonb, p_problems jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_document jsonb;
    v_problems jsonb;
begin
    if p_problems is null and _document_problem(p_settings) is null
       and not exists (select from setting_fields f    -- a quick look, as in user_settings_version()
                        cross join lateral (select p_settings -> f.key as value offset 0) v
                        where f.setting_type = split_part(p_setting_type, ':', 1) and v.value is not null
                          and (not _is_valid_value(f, v.value) or f.json_type = 'string' and p_texts ? f.key)) then
        return jsonb_build_object('document', p_settings, 'problems', null);
    end if;
    v_document := _normalised_setting(p_setting_type, _convert_settings(p_setting_type, p_settings, coalesce(p_texts, '{}')));
    v_problems := coalesce(p_problems, '{}')
                  || coalesce((select jsonb_object_agg(p.key, p.problem) from validate_user_setting(p_setting_type, v_document) p), '{}');
    if v_problems = '{}' then
        return jsonb_build_object('document', v_document, 'problems', null);
    end if;
    if v_problems ? '$' then
        return jsonb_build_object('document', null, 'problems', v_problems);
    end if;
    v_document := v_document - array(select jsonb_object_keys(v_problems));
    return jsonb_build_object('document', nullif(v_document, '{}'), 'problems', v_problems);
end
$$;

comment on function _take_settings(text, jsonb, jsonb, jsonb) is
'What can be taken of a document found in Redis: {"document": the valid keys, converted by the catalogue (null: none), "problems": bad key -> why (null: none)}. Used by _compare_documents().';
select _allow('_take_settings', 'admin');
