-- Comparisons of a key with a literal, joined by && || !, can be said in JSON Schema, which calculates nothing and compares no two
-- keys. Operators wait on a stack for their right side; the weakest first in v_rank. Reads only.
create or replace function _rule_schema(p_setting_type text, p_rule jsonpath)
returns jsonb
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_rank     constant text[] := array['(', ')', '||', '&&', '!'];    -- and then the comparisons
    v_operands jsonb[] := '{}';
    v_waiting  text[] := '{}';
    v_token    text;
    v_operator text;
    v_last     integer;
begin
    foreach v_token in array array['('] || _rule_tokens(p_rule) || array[')'] loop
        if v_token in ('+', '-', '*', '/', '%') then
            return null;
        elsif v_token in ('(', '!') then
            v_waiting := v_waiting || v_token;
            continue;
        elsif v_token ~ '^(\$|"|-?[0-9]|true|false|null)' then
            v_operands := v_operands || case when v_token like '$%' then jsonb_build_object('key', substr(v_token, 3)::jsonb)
                                             else jsonb_build_object('literal', v_token::jsonb) end;
            continue;
        end if;
        loop
            v_operator := v_waiting[cardinality(v_waiting)];
            exit when coalesce(array_position(v_rank, v_operator), 6) < coalesce(array_position(v_rank, v_token), 6);
            v_waiting := trim_array(v_waiting, 1);
            v_last := cardinality(v_operands) - case v_operator when '!' then 0 else 1 end;
            v_operands := trim_array(v_operands, case v_operator when '!' then 1 else 2 end) || case v_operator
                when '!' then jsonb_build_object('not', v_operands[v_last])
                when '||' then jsonb_build_object('anyOf', jsonb_build_array(v_operands[v_last], v_operands[v_last + 1]))
                when '&&' then jsonb_build_object('allOf', jsonb_build_array(v_operands[v_last], v_operands[v_last + 1]))
                else _comparison_schema(p_setting_type, v_operands[v_last], v_operator, v_operands[v_last + 1]) end;
            if v_operands[v_last] is null then
                return null;
            end if;
        end loop;
        v_waiting := case v_token when ')' then trim_array(v_waiting, 1) else v_waiting || v_token end;
    end loop;
    return v_operands[1];
end
$$;

comment on function _rule_schema(text, jsonpath) is
'A rule as JSON Schema, of documents whose keys are valid each for itself; null if that can''t say it.';
select _allow('_rule_schema', 'admin');
