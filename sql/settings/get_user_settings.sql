-- For nobody, the function of the older schema returned no row: its callers expect that. Reads by index, no lock.
create or replace function get_user_settings(
    p_identifier   text,
    p_setting_type text default null,
    p_symbol       text default null,
    p_must_exist   boolean default null
)
returns setof user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    if not coalesce(p_must_exist, not _has_predecessor('app_users')) then
        begin
            return query select * from get_user_settings(p_identifier, p_setting_type, p_symbol, true);
        exception
            when sqlstate 'US002' or sqlstate 'US004' or sqlstate 'US007' then
                null;
        end;
        return;
    end if;
    v_user := _resolve_user(p_identifier);
    if p_symbol is null then
        if p_setting_type is not null then
            perform check_setting_type(p_setting_type);
        end if;
        return query
        select * from user_settings s
         where s.user_id = v_user.id and s.is_active and s.deleted_at is null
           and s.setting_type = coalesce(p_setting_type, s.setting_type)
         order by s.setting_type;
    else
        perform _document_names(v_user.id, p_setting_type, p_symbol);    -- raises
        return query
        select distinct on (split_part(s.setting_type, ':', 1)) s.* from user_settings s
         where s.user_id = v_user.id and s.is_active and s.deleted_at is null
           and split_part(s.setting_type, ':', 1) = coalesce(p_setting_type, split_part(s.setting_type, ':', 1))
           and split_part(s.setting_type, ':', 2) in ('', p_symbol)
         order by split_part(s.setting_type, ':', 1), length(s.setting_type) desc;
    end if;
end
$$;

comment on function get_user_settings(text, text, text, boolean) is
'The active settings of a user: a row per document, or the one of p_setting_type; none if nothing was saved. With p_symbol the symbol''s document of each type, or else the user''s own: setting_type says which it is (dual_side:BTC-USDT-SWAP, dual_side). Raises US002 (unknown type), US004 (unknown user), US007 (bad identifier), US010 (no symbol, or not of this type); in an adopted database the first three only if p_must_exist, else they have no rows, as in the older schema.';
select _allow('get_user_settings', 'reader writer admin');
