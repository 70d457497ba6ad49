-- Why no document can be called so, NULL if one can: the one place that says which symbols there are. Symbols are OKX's: words
-- of capitals and digits with hyphens between, which no redis_suffix has, so that no key can be taken for another. Reads only.
create or replace function _setting_type_problem(p_setting_type text)
returns text
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select case when t.setting_type is null then 'unknown setting type'
                when position(':' in p_setting_type) = 0 then null
                when not t.has_symbols then 'a setting type without documents of symbols'
                when split_part(p_setting_type, ':', 2) !~ '^(?=.{3,64}$)[A-Z0-9]+(-[A-Z0-9]+)+$' or split_part(p_setting_type, ':', 3) <> ''
                     or p_setting_type like '%:'
                then 'not a symbol as OKX writes it'
           end
      from (select) one
      left join setting_types t on t.setting_type = split_part(p_setting_type, ':', 1)
$$;

comment on function _setting_type_problem(text) is
'Why no document can be called so (dual_side, dual_side:BTC-USDT-SWAP); null if one can.';
select _allow('_setting_type_problem', 'admin');
