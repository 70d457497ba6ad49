-- The catalogue allows what the predecessor's own buttons and routes write. A row that isn't as it was shipped is an operator's,
-- and stays. The new keys have no default, so that new documents don't get them.
-- depends: 0019_predecessor

update setting_fields f
   set json_type = n.json_type, is_nullable = n.is_nullable, minimum = n.minimum, maximum = n.maximum, choices = n.choices
  from (values
    ('params', 'btc_investment', jsonb '20', 'number', 1, 1000000, null::text[], 'number', false, 0, null::integer, null::text[]),
    ('params', 'eth_investment', '20', 'number', 1, 1000000, null, 'number', false, 0, null, null),
    ('params', 'sol_investment', '20', 'number', 1, 1000000, null, 'number', false, 0, null, null),
    ('params', 'trend_timeframe', '"auto"', 'string', null, null, null, 'string', true, null, null, null),
    ('params', 'rsi_oversold', '30', 'integer', 0, 100, null, 'number', false, 0, 100, null),
    ('params', 'rsi_overbought', '70', 'integer', 0, 100, null, 'number', false, 0, 100, null),
    ('params', 'tp_option', '"퍼센트 기준"', 'string', null, null, array['금액 기준', '퍼센트 기준', 'ATR 기준'],
     'string', false, null, null, array['금액 기준', '퍼센트 기준', 'ATR 기준', '가격 기준']),
    ('params', 'tp1_ratio', '30', 'integer', 0, 100, null, 'number', false, 0, 100, null),
    ('params', 'tp2_ratio', '30', 'integer', 0, 100, null, 'number', false, 0, 100, null),
    ('params', 'tp3_ratio', '40', 'integer', 0, 100, null, 'number', false, 0, 100, null),
    ('params', 'sl_option', '"퍼센트 기준"', 'string', null, null, array['금액 기준', '퍼센트 기준', 'ATR 기준'],
     'string', false, null, null, array['금액 기준', '퍼센트 기준', 'ATR 기준', '가격 기준']),
    ('params', 'trailing_start_point', '"tp3"', 'string', null, null, null, 'string', true, null, null, null),
    ('params', 'trailing_stop_type', '"트레일링 스탑 고정값"', 'string', null, null, array['트레일링 스탑 고정값', 'TP2-TP3 차이 기준'],
     'string', true, null, null, array['트레일링 스탑 고정값', 'TP2-TP3 차이 기준', 'fixed', 'tp_diff']),
    ('dual_side', 'dual_side_entry_tp_trigger_type', '"last_dca_on_position"', 'string', null, null, null, 'string', true, null, null, null)
  ) as n (setting_type, key, default_value, old_type, old_minimum, old_maximum, old_choices, json_type, is_nullable, minimum, maximum, choices)
 where (f.setting_type, f.key) = (n.setting_type, n.key)
   and (f.json_type, f.is_nullable, f.default_value, f.minimum, f.maximum, f.choices, f.is_secret)
       is not distinct from (n.old_type, false, n.default_value, n.old_minimum::numeric, n.old_maximum::numeric, n.old_choices, false);

insert into setting_fields (setting_type, key, json_type, is_nullable, minimum, maximum) values
    ('params', 'investment', 'number', false, 1, 1000000),
    ('params', 'current_category', 'string', true, null, null),
    ('params', 'use_dual_side_entry', 'boolean', false, null, null)    -- 0 or 1 there, once a session has started
    on conflict do nothing;

-- They take or return more now.
drop function if exists take_over_credentials(text, text, text, text);
drop function if exists import_documents(jsonb, text, boolean, boolean);
drop function if exists keep_documents(jsonb);
