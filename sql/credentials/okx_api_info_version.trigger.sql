-- As user_settings_version() has it: a new active row is version 1; every change, or the deletion, is the next version.
-- Plain text is refused before a constraint could quote it, unless old code may write it, in an adopted database; so are fields
-- that weren't sealed together (they name another version or set), and a change of what is still plain text: keys
-- encrypt-existing comes first. reencrypt_api_credentials() has a permit: another ciphertext of the same is no new version, of
-- an archived row neither; and for old code, an insert archives the version before ('succeeded').
create or replace function okx_api_info_version()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if new.version = 0 and not new.is_active
       and (tg_op = 'INSERT' or old.version = 0 and (new.id, new.user_id, new.okx_uid) = (old.id, old.user_id, old.okx_uid)) then
        return new;    -- it stands for no credentials, as a constraint has it
    end if;
    if tg_op = 'UPDATE' and old.is_active and new.deleted_at is not null then
        if not new.is_active and _is_permitted('succeeded', old.id) then
            return new;
        end if;
        new.is_active := true;    -- so the older schema deletes
        new.api_key := null; new.api_secret := null; new.passphrase := null;
    end if;
    if (num_nulls(new.api_key, new.api_secret, new.passphrase) <> (case when new.deleted_at is null then 0 else 3 end)
        and (new.is_active or new.deleted_at is null))
       or (not _is_encrypted(new) and not _has_predecessor('okx_api_info')) then
        raise exception using errcode = 'US003', message = 'invalid credentials',
            detail = '{"$": "must be api_key, api_secret and passphrase, each encrypted"}',
            hint = 'Save them by the command keys set, or save_credentials() of the Python store; plain text of an older system: keys encrypt-existing.';
    end if;
    if tg_op = 'UPDATE' then
        if _is_permitted('re-encrypt', old.id) then
            new := jsonb_populate_record(old, jsonb_build_object('api_key', new.api_key, 'api_secret', new.api_secret,
                                                                 'passphrase', new.passphrase));
            return new;
        end if;
        if not old.is_active or not new.is_active
           or (new.id, new.user_id, new.okx_uid) is distinct from (old.id, old.user_id, old.okx_uid) then
            raise exception using errcode = 'US005',
                message = 'the history of credentials is immutable',
                detail = 'An archived version, or the owner of credentials, can''t be changed.';
        end if;
        if not _is_encrypted(old) and not _has_predecessor('okx_api_info') then    -- it would be archived, and the constraint quote it
            raise exception using errcode = 'US003', message = 'invalid credentials',
                detail = '{"$": "the current version is plain text of an older system"}',
                hint = 'Run: settings-store keys encrypt-existing';
        end if;
        if (new.api_key, new.api_secret, new.passphrase) is not distinct from (old.api_key, old.api_secret, old.passphrase) then
            if new.version is distinct from old.version then
                perform _check_numbering(new.version, old.version);
            end if;
            new.version       := old.version;
            new.created_at    := old.created_at;
            new.updated_at    := old.updated_at;
            new.deleted_at    := old.deleted_at;
            new.changed_by    := old.changed_by;
            new.change_reason := old.change_reason;
            new.written_by    := old.written_by;
            return new;    -- old code may have changed other columns
        end if;
        if new.version is distinct from old.version then
            perform _check_numbering(new.version, old.version + 1);
        end if;
        new.version    := old.version + 1;
        new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    else
        if not new.is_active then
            raise exception using errcode = 'US005',
                message = 'the history of credentials is immutable',
                detail = 'Archived versions are made by the trigger only.';
        end if;
        if new.okx_uid is null then
            select u.okx_uid into new.okx_uid from app_users u where u.id = new.user_id;
        end if;
        new.version    := 1;
        new.updated_at := clock_timestamp();
    end if;
    if (select count(distinct coalesce(substring(c.text from '^v2\.[0-9a-f]{8}(\.[0-9]+\.[A-Za-z0-9_-]{16})\.'), 'v1'))
          from unnest(array[new.api_key, new.api_secret, new.passphrase]) as c (text) where c.text is not null) > 1 then
        raise exception using errcode = 'US003', message = 'invalid credentials',
            detail = '{"$": "api_key, api_secret and passphrase must be encrypted together, as one set"}',
            hint = 'Save all three.';
    end if;
    new.changed_by    := coalesce(_writer_note('actor'), session_user);
    new.change_reason := _writer_note('reason');
    new.written_by    := session_user;
    if not _is_encrypted(new) then
        raise warning 'the API keys of user % were saved in plain text', new.okx_uid
            using hint = 'The relay encrypts them, if it has SETTINGS_STORE_KEYS and the others are encrypted; else: settings-store keys encrypt-existing';
    end if;
    return new;
end
$$;

comment on function okx_api_info_version() is
'Trigger on okx_api_info: numbers the versions, records who and why, refuses plain text (US003) and changes of history (US005).';
select _allow('okx_api_info_version');

create or replace trigger okx_api_info_version_insert
    before insert on okx_api_info
    for each row when (new.is_active or pg_trigger_depth() = 0) execute function okx_api_info_version();

create or replace trigger okx_api_info_version_update
    before update on okx_api_info
    for each row execute function okx_api_info_version();
