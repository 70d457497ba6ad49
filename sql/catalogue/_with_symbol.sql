-- What user_settings, the marks and the mirror call a document: its type, and behind a colon its symbol, if it is a symbol's.
-- One name instead of two keys: whatever goes by (user, setting_type) keeps the symbols' documents apart without knowing of
-- them. Back to the type: split_part(…, ':', 1). Touches no table. An SQL expression body: it is inlined.
create or replace function _with_symbol(p_setting_type text, p_symbol text)
returns text
language sql immutable
return case when p_symbol is null then p_setting_type else p_setting_type || ':' || p_symbol end;

comment on function _with_symbol(text, text) is
'The name of a document, as user_settings.setting_type has it: the type, of a symbol''s document type:SYMBOL.';
select _allow('_with_symbol', 'admin');
