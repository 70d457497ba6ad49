-- The rule of versions, before any insert or update of user_settings:
--   a new active row is version 1; every change of the document, or its deletion, is the next version;
--   who and why come from the settings settings_store.actor / .reason, else the login, which is kept beside them;
--   the catalogue must find no fault with a document that changes (US003); integers, choices and keys are stored in the form
--     that it has: _normalised_setting();
--   a change of a locked key, or the deletion of a document with locks, is refused (US013); a document that comes to be, or comes
--     back, is no change;
--   archived rows never change, and only a trigger makes one: user_settings_changed (US005). (In an adopted database, old
--     code may insert a document after a deletion; the permit 'succeeded' lets predecessor.for_old_code_insert() archive that.)
create or replace function user_settings_version()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_type       constant text := split_part(new.setting_type, ':', 1);    -- once, not for every row of the catalogue
    v_is_suspect boolean       := false;
begin
    if not new.is_active and tg_op = 'UPDATE' and old.is_active and new.deleted_at is not null then
        if old.deleted_at is not null and _is_permitted('succeeded', old.id) then
            return new;
        end if;
        new.is_active := true;    -- so the older schema deletes
    end if;
    if not new.is_active then    -- by hand: the rows of user_settings_changed don't come here
        raise exception using errcode = 'US005',
            message = 'the history of settings is immutable',
            detail = 'Archived versions are made by the trigger only, and never change.',
            hint = 'Update the active row only (… and is_active), or call upsert_user_setting() or delete_user_setting().';
    end if;

    if jsonb_typeof(new.settings) is distinct from 'object' then
        raise exception using errcode = 'US003', message = 'invalid settings',
            detail = '{"$": "must be an object"}';
    end if;
    -- A quick look, which most pass. What doesn't is put into the form that is stored, and its faults are told below.
    if not (tg_op = 'INSERT' and coalesce(current_setting('settings_store.reason', true), '') = 'found in Redis' and _is_permitted('taken over')) then
        v_is_suspect := new.deleted_at is null and (tg_op = 'INSERT' or old.deleted_at is not null or new.settings <> old.settings)
            and (_document_problem(new.settings) is not null or exists (select from _suspect_parts(v_type, new.settings)));
    end if;
    if v_is_suspect and _is_permitted('keep as found', new.id) then    -- _keep_losing_document(): the active one soon replaces it
        v_is_suspect := false;
    elsif v_is_suspect then
        new.settings := _normalised_setting(new.setting_type, new.settings);
    end if;
    if tg_op = 'UPDATE' then
        if not old.is_active or (new.id, new.user_id, new.okx_uid, new.setting_type)
                                is distinct from (old.id, old.user_id, old.okx_uid, old.setting_type) then
            raise exception using errcode = 'US005',
                message = 'the history of settings is immutable',
                detail = 'An archived version, or the owner or type of a document, can''t be changed.',
                hint = 'Update the active row only (… and is_active), or call upsert_user_setting().';
        end if;
        if new.deleted_at is not null then
            new.settings := case when old.deleted_at is null then '{}' else old.settings end;
        end if;
        if new.settings = old.settings and (new.deleted_at is null) = (old.deleted_at is null) then
            if new.version is distinct from old.version then
                perform _check_numbering(new.version, old.version);
            end if;
            new.version       := old.version;
            new.settings      := old.settings;
            new.deleted_at    := old.deleted_at;
            new.updated_at    := old.updated_at;
            new.changed_by    := old.changed_by;
            new.change_reason := old.change_reason;
            new.written_by    := old.written_by;
            new.saved_in      := old.saved_in;
            return new;
        end if;
        if old.deleted_at is null and exists (select from setting_locks) and not _is_permitted('keep as found', new.id) then
            perform _check_locks(new.okx_uid, new.setting_type, old.settings, case when new.deleted_at is null then new.settings end);
        end if;
        if new.version is distinct from old.version then
            perform _check_numbering(new.version, old.version + 1);
        end if;
        new.version    := old.version + 1;
        new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    else
        perform check_setting_type(new.setting_type);
        if new.okx_uid is null then
            select u.okx_uid, u.telegram_id into new.okx_uid, new.telegram_id
              from app_users u where u.id = new.user_id;
        end if;
        new.version    := 1;
        new.updated_at := clock_timestamp();
    end if;
    if v_is_suspect then
        perform _check_settings(new.setting_type, new.settings);
    end if;
    new.changed_by    := coalesce(_writer_note('actor'), session_user);
    new.change_reason := _writer_note('reason');
    new.written_by    := session_user;
    new.saved_in      := greatest(pg_current_xact_id(), old.saved_in);    -- that of the version before may have begun later
    return new;
end
$$;

comment on function user_settings_version() is
'Trigger on user_settings: numbers the versions, puts documents into the catalogue''s form and checks them (US003), records who and why, refuses changes of locked keys (US013) and of history (US005).';
select _allow('user_settings_version');

create or replace trigger user_settings_version_insert
    before insert on user_settings
    for each row when (new.is_active or pg_trigger_depth() = 0) execute function user_settings_version();

create or replace trigger user_settings_version_update
    before update on user_settings
    for each row execute function user_settings_version();
