-- What can be taken of a document that somebody wrote into Redis: {"document": its valid keys, converted by the catalogue, bad ones
-- having the values of p_active (the document in force, null: none), "problems": bad key -> why}. Of a rule that it breaks, all keys
-- that the rule names are bad, each time around: with their values in force the document may break another one. document is null if
-- nothing is left, or what is in force can't be saved itself; problems is null if all is well. p_problems: what the reader couldn't
-- pass on (NaN, say). Key '$' is the document as a whole: then nothing can be taken. Reads only.
create or replace function _take_settings(p_setting_type text, p_settings jsonb, p_texts jsonb, p_problems jsonb, p_active jsonb)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_taken    jsonb := p_settings;
    v_document jsonb;
    v_problems jsonb := coalesce(p_problems, '{}');
    v_bad      text[] := array(select jsonb_object_keys(v_problems));
    v_found    record;
begin
    for v_turn in case when p_texts is null then 1 else 2 end .. 2 loop    -- as it was found, and converted
        if v_turn = 2 then
            v_taken := _normalised_setting(p_setting_type, _convert_settings(p_setting_type, p_settings, coalesce(p_texts, '{}')));
        end if;
        if p_problems is null and _document_problem(v_taken) is null and not exists (select from _suspect_parts(split_part(p_setting_type, ':', 1), v_taken)) then
            return jsonb_build_object('document', v_taken, 'problems', null);
        end if;
    end loop;
    loop
        v_document := v_taken || coalesce((select jsonb_object_agg(b.key, p_active -> b.key) from unnest(v_bad) as b (key) where p_active ? b.key), '{}');
        select jsonb_object_agg(p.key, p.problem) as problems, array_agg(distinct k.key) as keys into v_found
          from validate_user_setting(p_setting_type, v_document) p
          left join setting_rules r on r.setting_type = split_part(p_setting_type, ':', 1) and p.key = '$' || r.name
         cross join lateral unnest(coalesce(r.keys, array[p.key])) as k (key);
        exit when v_found.problems is null;
        v_problems := v_problems || v_found.problems;
        if v_problems ? '$' or v_found.keys <@ v_bad then
            return jsonb_build_object('document', null, 'problems', v_problems);
        end if;
        v_bad := v_bad || v_found.keys;
        v_taken := v_taken - v_bad;
    end loop;
    return jsonb_build_object('document', case when v_taken <> '{}' or v_problems = '{}' then v_document end, 'problems', nullif(v_problems, '{}'));
end
$$;

comment on function _take_settings(text, jsonb, jsonb, jsonb, jsonb) is
'What can be taken of a document found in Redis: {"document": the valid keys, converted by the catalogue, and in place of the others those in force (null: none is valid), "problems": bad key -> why (null: none)}. Used by _compare_documents().';
select _allow('_take_settings', 'admin');
