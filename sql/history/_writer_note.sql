-- The setting settings_store.<p_what>. An SQL expression body: it is inlined in the triggers, which every write pays for.
-- Touches no table.
create or replace function _writer_note(p_what text)
returns text
language sql stable
return case
    when length(current_setting('settings_store.' || p_what, true)) > case p_what when 'actor' then 200 else 1000 end
        then _check_length(p_what, current_setting('settings_store.' || p_what, true), case p_what when 'actor' then 200 else 1000 end)
    else nullif(current_setting('settings_store.' || p_what, true), '')
end;

comment on function _writer_note(text) is
'Who writes (actor, at most 200 characters) or why (reason, at most 1000), as the session says; null if it doesn''t. Raises US010 (too long).';
select _allow('_writer_note', 'admin');
