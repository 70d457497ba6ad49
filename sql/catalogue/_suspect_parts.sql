-- The quick look at a document that is one already, which most pass: what it finds may have a fault, or not be in the form that
-- is stored (4.0 for 4, a key in another Unicode form). It has no `set`, and a body that is resolved when it is made, so that it
-- is inlined where it is called. p_type is without a symbol: taken apart here, that would be done for every row of the catalogue.
-- Broken rules are asked for only where a rule isn't met by the document alone. Reads only.
create or replace function _suspect_parts(p_type text, p_settings jsonb)
returns setof text
language sql stable
begin atomic
    select f.key from public.setting_fields f
     cross join lateral (select p_settings -> f.key as value offset 0) v
     where f.setting_type = p_type
       and case when v.value is null then octet_length(f.key) > length(f.key)
                when not public._is_valid_value(f, v.value) then true
                when f.json_type = 'integer' and v.value <> 'null' then scale(v.value::numeric) > 0 end
    union all
    select r.name from public.setting_rules r
     where r.setting_type = p_type
       and jsonb_path_match(p_settings, r.rule, '{}', true) is not true
       and exists (select from public._broken_rules(p_type, p_settings) b where b.name = r.name);
end;

comment on function _suspect_parts(text, jsonb) is
'Keys and rules at which a document may not be as the catalogue has it: no row for one that can be stored as it stands. The document as a whole is not looked at (_document_problem).';
select _allow('_suspect_parts', 'admin');
