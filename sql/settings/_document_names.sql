-- The names of a user's documents, as user_settings.setting_type has them: of one type, or of all; with a symbol those of the
-- symbol, else (of all) whatever symbol. Each has one active row, also after a deletion. Raises US002, US010. Reads by index.
create or replace function _document_names(p_user_id uuid, p_setting_type text, p_symbol text)
returns text[]
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_setting_type is not null or p_symbol is not null then
        perform check_setting_type(_with_symbol(coalesce(p_setting_type, (select min(t.setting_type) from setting_types t where t.has_symbols)),
                                                p_symbol));
    end if;
    if p_setting_type is not null then
        return array[_with_symbol(p_setting_type, p_symbol)];
    end if;
    return array(select s.setting_type from user_settings s
                  where s.user_id = p_user_id and s.is_active and split_part(s.setting_type, ':', 2) = coalesce(p_symbol, split_part(s.setting_type, ':', 2)));
end
$$;

comment on function _document_names(uuid, text, text) is
'The names of a user''s documents: of one type or (null) of all, of one symbol or (null) the user''s own and, of all types, those of every symbol. Raises US002, US010.';
select _allow('_document_names', 'admin');
