-- A deletion is an empty document. Reads by index; no lock.
create or replace function diff_user_setting(p_identifier text, p_setting_type text, p_from integer, p_to integer, p_symbol text default null)
returns table (key text, change text, old_value jsonb, new_value jsonb)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return query
    select * from _document_changes(p_setting_type, (user_setting_version(p_identifier, p_setting_type, p_from, p_symbol)).settings,
                                                   (user_setting_version(p_identifier, p_setting_type, p_to, p_symbol)).settings);
end
$$;

comment on function diff_user_setting(text, text, integer, integer, text) is
'What differs between two versions: a row per key with change added, removed or changed. Secrets are masked. p_symbol: of the document of that symbol. Raises US002, US004, US006, US007, US010.';
select _allow('diff_user_setting', 'reader writer admin');
