-- A rule is data, not code, so its form is a small one: comparisons of keys ($.key), numbers, texts, true, false and null by
-- == != < <= > >= and `starts with`; sums, products and the like by + - * / %; && || ! and parentheses. None of jsonpath's
-- filters, wildcards, methods, variables, patterns and exists(): what is left either ends at once or can't be compared, and
-- what is true of some keys of a document stays true whatever the others are. PostgreSQL writes every jsonpath in one form, in
-- which only a negative number has its sign before it without a space. Touches no table.
create or replace function _rule_tokens(p_rule jsonpath)
returns text[]
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_text  text := regexp_replace(p_rule::text, '^strict ', '');
    v_token constant text := '\$\."(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?|\m(?:true|false|null|starts with)\M'
                             '|[=!<>]=|&&|\|\||[<>!()+*/%-]';
begin
    if regexp_replace(v_text, v_token, '', 'g') ~ '\S' then
        return null;
    end if;
    return array(select t.match[1] from regexp_matches(v_text, '(' || v_token || ')', 'g') with ordinality as t (match, place) order by t.place);
end
$$;

comment on function _rule_tokens(jsonpath) is
'The words and signs of a rule, one after the other, of keys with $. before the quoted name; null if the jsonpath has more than a rule may.';
select _allow('_rule_tokens', 'admin');
