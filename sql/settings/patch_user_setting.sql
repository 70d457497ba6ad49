-- The row's lock holds while the patch is applied: concurrent patches of different keys all survive. A patch that changes nothing
-- makes no version. Of a key that the catalogue lists, null puts the default back (_patched_setting).
create or replace function patch_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_patch            jsonb,
    p_expected_version integer default null,
    p_symbol           text default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
    v_name text := _with_symbol(p_setting_type, p_symbol);
    v_row  user_settings;
    v_own  jsonb := '{}';
begin
    if jsonb_typeof(p_patch) is distinct from 'object' then
        raise exception using errcode = 'US003', message = 'invalid settings',
            detail = '{"$": "the patch must be an object"}';
    end if;
    p_patch := _normalised_setting(p_setting_type, p_patch);    -- so that it meets the document's keys
    loop
        v_user := _resolve_user(p_identifier);    -- each time: erased while we waited, and registered again, perhaps
        select * into v_row from user_settings s
         where s.user_id = v_user.id and s.setting_type = v_name and s.is_active and s.deleted_at is null
           for no key update;
        exit when found;
        perform from app_users u where u.id = v_user.id for share;     -- the user's row before the setting's
        if position(':' in v_name) > 0 then    -- what is in force for the symbol until it has a document
            v_own := coalesce((select s.settings from user_settings s
                                where s.user_id = v_user.id and s.setting_type = split_part(v_name, ':', 1) and s.is_active and s.deleted_at is null), '{}');
        end if;
        select * into v_row from user_settings s
         where s.user_id = v_user.id and s.setting_type = v_name and s.is_active
           for no key update;
        exit when found;
        -- Nothing to lock yet: save the first version, unless somebody else is doing so right now.
        begin
            return upsert_user_setting(v_user.okx_uid, v_name, _patched_setting(v_name, v_own, p_patch), coalesce(p_expected_version, 0));
        exception
            when sqlstate 'US001' then
                if p_expected_version is not null then raise; end if;
        end;
    end loop;
    -- The row's user: the Telegram ID may lead to somebody else by now.
    return upsert_user_setting(v_row.okx_uid, v_name,
                               _patched_setting(v_name, case when v_row.deleted_at is null then v_row.settings else v_own end, p_patch),
                               p_expected_version);
end
$$;

comment on function patch_user_setting(text, text, jsonb, integer, text) is
'Applies a JSON merge patch (RFC 7396) to the active document under its lock: objects merge ({} changes nothing; clear one by removing its keys with null, or by upsert_user_setting()), null puts back the default of a key that the catalogue lists with one, and removes any other. Keys that it doesn''t list are saved as they come. Without a document, or after its deletion (restore_user_setting() brings it back), the patch is all there is. p_symbol: of the document of that symbol, which begins as the user''s own. Returns the row. Example: select version from patch_user_setting(''587662504768345929'', ''params'', ''{"leverage": 20}''). Raises US001, US002, US003, US004, US007, US010.';
select _allow('patch_user_setting', 'writer admin');
