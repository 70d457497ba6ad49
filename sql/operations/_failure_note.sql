-- What PostgreSQL itself says may quote a value. Touches no table.
create or replace function _failure_note(p_state text, p_message text, p_detail text)
returns text
language sql immutable
return left(p_state || ': ' || case when p_state like 'US%' then p_message || coalesce(' (' || nullif(p_detail, '') || ')', '')
                                    else 'PostgreSQL refused it' end, 2000);

comment on function _failure_note(text, text, text) is
'An error in words that hold no value: its SQLSTATE, and of the store''s own message and detail.';
select _allow('_failure_note', 'admin');
