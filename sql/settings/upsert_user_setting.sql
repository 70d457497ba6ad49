-- Saves a settings document: the whole rule of writing.
--
--   A live document that changes is one update of its active row. Everything else (no document yet, a
--   deleted one, nothing to change, another version than expected) is decided with the user's row locked
--   before the setting's, the order in which delete_user() and link_telegram() lock them.
--   The triggers on user_settings do the rest, for raw SQL too:
--     user_settings_version   raises the version, refuses to touch history, records who and why, checks the document against
--                             the catalogue (US003)
--     user_settings_changed   keeps the old value as an inactive row, checks that the user is alive, marks the key for Redis,
--                             in this same transaction
--
-- Saving what is already active changes nothing and returns the active row (idempotent).
-- p_expected_version: write only if this is the current version (0: there is none yet), else US001.
-- p_symbol: the symbol's document, which has versions of its own.
-- Raises US001, US002, US003, US004, US007, US010. Locks the active row until the transaction ends.
create or replace function upsert_user_setting(
    p_identifier       text,
    p_setting_type     text,
    p_settings         jsonb,
    p_expected_version integer default null,
    p_symbol           text default null
)
returns user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
    v_name text := _with_symbol(p_setting_type, p_symbol);
    v_row  user_settings;
begin
    loop
        update user_settings s set settings = p_settings
         where s.user_id = v_user.id and s.setting_type = v_name and s.is_active and s.deleted_at is null
           and s.settings <> p_settings and s.version = coalesce(p_expected_version, s.version)
        returning * into v_row;
        if found then
            return v_row;
        end if;

        select * into v_user from app_users u where u.id = v_user.id for share;
        if not found then    -- erased while we waited, and registered again, perhaps
            v_user := _resolve_user(p_identifier);
            continue;
        end if;
        select * into v_row from user_settings s
         where s.user_id = v_user.id and s.setting_type = v_name and s.is_active
           for no key update;

        perform _check_version(p_expected_version, coalesce(v_row.version, 0), v_name, v_user.okx_uid);
        if v_row.version is null then
            insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
            values (v_user.id, v_user.okx_uid, v_user.telegram_id, v_name, p_settings)
            on conflict do nothing      -- no target: a rival's first version hits two unique indexes
            returning * into v_row;
            continue when not found;    -- somebody else was first
        elsif v_row.deleted_at is not null or v_row.settings is distinct from p_settings then
            update user_settings s set settings = p_settings, deleted_at = null, telegram_id = v_user.telegram_id
             where s.id = v_row.id
            returning * into v_row;
        end if;
        return v_row;
    end loop;
end
$$;

comment on function upsert_user_setting(text, text, jsonb, integer, text) is
'Saves a settings document in place of the whole one before (patch_user_setting() changes single keys) and returns its row with the new version; an unchanged document makes no version. Integers, choices and keys that the catalogue lists are stored in its form (4.0: 4). p_identifier: OKX UID, Telegram ID or UUID. p_expected_version: write only if this is the current version (0: none yet). p_symbol: the document of that symbol, which has versions of its own; without, the user''s own. Example: select * from upsert_user_setting(''587662504768345929'', ''preferences'', ''{"symbol": "BTC-USDT-SWAP", "timeframe": "5m"}''). Raises US001 (version conflict), US002 (unknown type), US003 (invalid settings), US004 (unknown user), US007 (bad identifier), US010 (no symbol, or not of this type).';
select _allow('upsert_user_setting', 'writer admin');
