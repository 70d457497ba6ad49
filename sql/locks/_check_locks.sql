-- Of a document that changes: p_old to p_new (null: it is deleted, which every lock of it forbids). Called by the trigger
-- user_settings_version if there is any lock. Who overrides must be a member of settings_admin, or own the tables, and say so:
-- `set settings_store.override_locks = on` alone, anybody could. The probe is nobody's bot. Reads by index, no lock.
create or replace function _check_locks(p_okx_uid text, p_setting_type text, p_old jsonb, p_new jsonb)
returns void
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
    v_locked jsonb;
begin
    select jsonb_object_agg(coalesce(nullif(l.key, ''), '$'), format('locked by %s%s: %s', l.locked_by,
               ' until ' || to_char(l.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS" UTC"'), l.reason))
      into v_locked
      from setting_locks l
     where l.okx_uid in (p_okx_uid, '') and l.setting_type in (p_setting_type, split_part(p_setting_type, ':', 1))
       and (l.okx_uid <> '' or p_okx_uid <> probe_okx_uid())
       and (l.until is null or l.until > clock_timestamp())
       and (l.key = '' or p_new is null or p_old -> l.key is distinct from p_new -> l.key);
    if v_locked is null
       or coalesce(current_setting('settings_store.override_locks', true), '') = 'on'
          and exists (select from pg_roles r where pg_has_role(session_user, r.oid, 'member')
                                               and (r.rolname = 'settings_admin'
                                                    or r.oid = (select c.relowner from pg_class c where c.oid = 'public.user_settings'::regclass))) then
        return;
    end if;
    raise exception using errcode = 'US013',
        message = format('%s is locked', p_setting_type),
        detail = v_locked,
        hint = 'list_locks() shows the locks, unlock_setting() removes them; a bot that runs holds its own until it stops.';
end
$$;

comment on function _check_locks(text, text, jsonb, jsonb) is
'Raises US013 (detail: each locked key, $ the whole document, and by whom, until when and why) if a change of a document from p_old to p_new (null: its deletion) changes what is locked, unless an admin overrides that. Called by the trigger on user_settings.';
select _allow('_check_locks', 'admin');
