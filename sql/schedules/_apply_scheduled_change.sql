-- As whoever scheduled it would at this moment, by the same checks. Locks the user's row (for no key update, as nobody else may
-- save a first document meanwhile, which would be lost here), then the document's.
-- The keys that it names are kept even if they had those values already: a temporary change that ends earlier leaves them to this.
create or replace function _apply_scheduled_change(p_change scheduled_changes, p_user_id uuid)
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user   app_users;
    v_writer jsonb := _write_as_schedule(p_change, '');
    v_named  jsonb := p_change.patch;
    v_row    user_settings;
    v_before jsonb;
    v_after  jsonb;
begin
    perform from app_users u where u.id = p_user_id for no key update;
    v_user := _lock_user(p_user_id::text);    -- alive
    select * into v_row from user_settings s
     where s.user_id = v_user.id and s.setting_type = p_change.setting_type and s.is_active for no key update;
    v_before := case when v_row.deleted_at is null then v_row.settings end;
    update scheduled_change_users i set version_before = coalesce(v_row.version, 0)
     where i.schedule_id = p_change.id and i.user_id = v_user.id;
    if p_change.patch is not null then
        v_row := patch_user_setting(v_user.okx_uid, p_change.setting_type, p_change.patch, p_change.expected_version);
    elsif p_change.template is not null then
        v_named := (setting_template(p_change.template, split_part(p_change.setting_type, ':', 1))).settings;
        v_row := upsert_user_setting(v_user.okx_uid, p_change.setting_type, coalesce(v_before, '{}') || v_named, p_change.expected_version);
    else
        v_row := rollback_user_setting(v_user.okx_uid, p_change.setting_type, p_change.version, p_change.expected_version);
    end if;
    v_after := case when v_row.deleted_at is null then v_row.settings end;
    update scheduled_change_users i
       set outcome = 'applied', applied_at = clock_timestamp(), version_after = v_row.version, due_at = p_change.until, note = null,
           (before, after) = (select case when v_before is not null then coalesce(jsonb_object_agg(k.key, v_before -> k.key) filter (where v_before ? k.key), '{}') end,
                                     case when v_after is not null then coalesce(jsonb_object_agg(k.key, v_after -> k.key) filter (where v_after ? k.key), '{}') end
                                from jsonb_object_keys(coalesce(v_before, '{}') || coalesce(v_after, '{}')) k (key)
                               where v_named ? k.key or v_before -> k.key is distinct from v_after -> k.key
                              having p_change.until is not null)
     where i.schedule_id = p_change.id and i.user_id = v_user.id;
    perform set_config('settings_store.actor', v_writer ->> 'actor', true),
            set_config('settings_store.reason', v_writer ->> 'reason', true);
end
$$;

comment on function _apply_scheduled_change(scheduled_changes, uuid) is
'Changes the settings of one user as scheduled, and keeps what is needed to take it back. Raises what the change itself raises.';
select _allow('_apply_scheduled_change', 'admin');
