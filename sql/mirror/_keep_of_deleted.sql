-- Puts a document that Redis holds of a deleted user, of a type that PostgreSQL never had, into the history: as version 1, and
-- as version 2 its deletion, by which Redis loses it. restore_user() doesn't bring it back: it was never in force here.
-- Nor is what an erased person left who has registered again. Idempotent. The caller has locked the user. Raises US003 (no document), US012.
create or replace function _keep_of_deleted(p_user_id uuid, p_setting_type text, p_document jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_id    uuid := gen_random_uuid();
    v_given text := coalesce(current_setting('settings_store.reason', true), '');
    v_user  app_users;
begin
    select * into v_user from app_users u where u.id = p_user_id and u.deleted_at is not null;
    perform check_confinement(v_user.okx_uid);
    if not found or exists (select from user_settings s where s.user_id = p_user_id and s.setting_type = p_setting_type)
       or exists (select from mirror_pending p where p.owner = v_user.okx_uid and p.kind = p_setting_type and (p.erased or p.discards)) then
        return;
    end if;
    if _document_problem(p_document) is not null then
        raise exception using errcode = 'US003', message = 'not a document that can be kept',
            detail = jsonb_build_object('$', _document_problem(p_document));
    end if;
    insert into trigger_permits (permit, id) values ('keep as found', v_id);
    perform set_config('settings_store.reason', 'found in Redis, of a deleted user', true);
    insert into user_settings (id, user_id, okx_uid, setting_type, settings)
    values (v_id, v_user.id, v_user.okx_uid, p_setting_type, p_document);
    update user_settings s set deleted_at = clock_timestamp() where s.id = v_id;
    perform set_config('settings_store.reason', v_given, true);
    delete from trigger_permits p where p.permit = 'keep as found' and p.id is not distinct from v_id;
end
$$;

comment on function _keep_of_deleted(uuid, text, jsonb) is
'Keeps a document found in Redis of a deleted user, who never had one of this type, in the history, and marks the key for Redis, which loses it. Used by import_documents().';
revoke execute on function _keep_of_deleted(uuid, text, jsonb) from public;
