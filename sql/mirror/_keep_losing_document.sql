-- Puts a document that loses against the active one into the history: it becomes a version, which the
-- active document then replaces again. Also one that isn't valid by the catalogue, as long as it is what any document
-- may be (_document_problem): what was found is kept as it was found. Nothing to do if a version has this very content, or
-- if it is what an erased person left who has registered again.
-- p_id: the active row, which the caller has locked. Raises US003, US012.
create or replace function _keep_losing_document(p_id uuid, p_document jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_active user_settings;
    v_given  text := coalesce(current_setting('settings_store.reason', true), '');
    v_problem text := _document_problem(p_document);
begin
    select * into v_active from user_settings s where s.id = p_id;
    perform check_confinement(v_active.okx_uid);
    if v_problem is not null then
        raise exception using errcode = 'US003', message = 'not a document that can be kept',
            detail = jsonb_build_object('$', v_problem);
    end if;
    if exists (select from user_settings s
                where s.user_id = v_active.user_id and s.setting_type = v_active.setting_type
                  and s.deleted_at is null and s.settings = p_document)
       or exists (select from mirror_pending p
                   where p.owner = v_active.okx_uid and p.kind = v_active.setting_type and p.discards) then
        return;
    end if;
    insert into trigger_permits (permit, id) values ('keep as found', p_id);
    perform set_config('settings_store.reason', 'found in Redis, lost against PostgreSQL', true);
    update user_settings s set settings = p_document, deleted_at = null where s.id = p_id;
    perform set_config('settings_store.reason', 'put back', true);    -- it may be older than today's catalogue
    update user_settings s set settings = v_active.settings, deleted_at = v_active.deleted_at where s.id = p_id;
    perform set_config('settings_store.reason', v_given, true);
    delete from trigger_permits p where p.permit = 'keep as found' and p.id is not distinct from p_id;
end
$$;

comment on function _keep_losing_document(uuid, jsonb) is
'Keeps a document found in Redis in the history, though the active one stays in force. Used by import_documents().';
select _allow('_keep_losing_document', 'admin');
