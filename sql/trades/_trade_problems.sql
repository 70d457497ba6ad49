-- Numbers may come as JSON numbers or as texts, times as ISO 8601 with an offset, from 1970 to 2999. A whole row of trades will
-- do: what the store makes itself (id, user_id, net_pnl, created_at: all four of them) is made anew. Versions are compared with
-- those of the user; p_user_id null: there is no such user. No problem holds a value. Reads by index, no lock.
create or replace function _trade_problems(p_user_id uuid, p_trade jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    with field (key, is_required, kind, must, pattern) as (values
        ('okx_uid',              false, 'text',    'an OKX UID: a text of 16-20 digits', '^[0-9]{16,20}$'),
        ('symbol',               true,  'text',    'a text of 1-64 characters without blanks', '^[^[:space:][:cntrl:]]{1,64}$'),
        ('side',                 true,  'text',    'long or short', '^(long|short)$'),
        ('is_hedge',             false, 'boolean', 'true or false', '^([Tt]rue|[Ff]alse)$'),
        ('entry_time',           true,  'time',    null, null),
        ('entry_price',          true,  'amount',  null, null),
        ('entry_size',           true,  'amount',  null, null),
        ('exit_time',            true,  'time',    null, null),
        ('exit_price',           true,  'amount',  null, null),
        ('exit_size',            true,  'amount',  null, null),
        ('entry_fee',            false, 'number',  null, null),
        ('exit_fee',             false, 'number',  null, null),
        ('funding_fee',          false, 'number',  null, null),
        ('currency',             false, 'text',    '1-20 of the characters A-Z, 0-9, as in USDT', '^[A-Z0-9]{1,20}$'),
        ('realized_pnl',         true,  'number',  null, null),
        ('realized_pnl_percent', false, 'number',  null, null),
        ('leverage',             false, 'amount',  null, null),
        ('close_type',           false, 'text',    '1-30 of the characters a-z, 0-9, _', '^[a-z0-9_]{1,30}$'),
        ('dca_count',            false, 'integer', 'a whole number from 0', '^[0-9]{1,9}$'),
        ('entry_order_id',       false, 'text',    'a text of 1-100 characters without blanks', '^[^[:space:][:cntrl:]]{1,100}$'),
        ('exit_order_id',        true,  'text',    'a text of 1-100 characters without blanks', '^[^[:space:][:cntrl:]]{1,100}$'),
        ('params_version',       false, 'version', 'a version: a whole number from 1', '^[1-9][0-9]{0,8}$'),
        ('dual_side_version',    false, 'version', 'a version: a whole number from 1', '^[1-9][0-9]{0,8}$'),
        ('extra',                false, 'object',  null, null)
        union all
        select c.key, false, 'ours', null, null from unnest('{id,user_id,net_pnl,created_at}'::text[]) c (key)
         where p_trade ?& '{id,user_id,net_pnl,created_at}'
    ), kind (kind, json_types, must, pattern) as (values
        ('text',    '{string}'::text[],         null, null),
        ('boolean', '{boolean,string}',         null, null),
        ('integer', '{number,string}',          null, null),
        ('version', '{number,string}',          null, null),
        ('number',  '{number,string}',          'a number', '^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$'),
        ('amount',  '{number,string}',          'a number above 0', '^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,3})?$'),
        ('time',    '{string}',                 'a time as in 2026-11-22T10:00:30+09:00, with its offset, from 1970 to 2999',
            '^(19[7-9][0-9]|2[0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[T ]([01][0-9]|2[0-3])(:[0-5][0-9]){1,2}'
            '([.][0-9]{1,6}0*)?(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)$'),
        ('object',  '{object}',                 null, null),
        ('ours',    '{string,number}',          null, '')
    ), checked as materialized (
        select coalesce(f.key, g.key) as key, t.text, case
               when f.key is null then 'is no field of a trade; extra takes whatever else is known'
               when coalesce(g.value, 'null') = 'null' then case when f.is_required then 'is missing' end
               when f.kind = 'object' then _document_problem(g.value)
               when jsonb_typeof(g.value) <> all (k.json_types) or length(t.text) > 200 or t.text !~ coalesce(f.pattern, k.pattern)
                   then 'must be ' || coalesce(f.must, k.must)
               when f.kind = 'time' and extract(month from make_date(substr(t.text, 1, 4)::integer, substr(t.text, 6, 2)::integer, 1)
                                                           + (substr(t.text, 9, 2)::integer - 1)) <> substr(t.text, 6, 2)::integer
                   then 'is no day of the calendar'
               when f.kind = 'amount' and t.text::numeric <= 0 then 'must be above 0'
               when f.kind in ('amount', 'number') and abs(t.text::numeric) >= 1e30 then 'must be below 1e30'
               when f.kind = 'version' and t.text::integer > coalesce((select s.version from user_settings s
                        where s.user_id = p_user_id and s.is_active and s.setting_type = replace(f.key, '_version', '')), 0)
                   then 'is above the newest version there is'
               end as problem
          from jsonb_each(case when jsonb_typeof(p_trade) = 'object' then p_trade else '{}' end) g
          full join field f on f.key = g.key
          left join kind k on k.kind = f.kind
         cross join lateral (select g.value #>> '{}' as text) t
    )
    select jsonb_object_agg(left(p.key, 64), p.problem) from (
        select '$', 'must be an object' where jsonb_typeof(p_trade) is distinct from 'object'
        union all
        select 'okx_uid', 'is nobody''s, or that of a deleted user'
         where p_user_id is null and not exists (select from checked c where c.key = 'okx_uid' and c.problem is not null)
        union all
        select c.key, c.problem from checked c where c.problem is not null
        union all
        select 'exit_time', 'must not be before entry_time'
          from checked a, checked b
         where a.key = 'entry_time' and b.key = 'exit_time'
           and case when coalesce(a.problem, b.problem) is null then b.text::timestamptz < a.text::timestamptz end
         limit 20) as p (key, problem)
     where jsonb_typeof(p_trade) = 'object' or p.key = '$'
$$;

comment on function _trade_problems(uuid, jsonb) is
'What is wrong with a trade of a user as record_trade() takes it, {key: why}; null if nothing.';
select _allow('_trade_problems', 'admin');
