-- US012 in a confined session.
create or replace function end_restore()
returns bigint
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_count bigint;
    v_found record;
begin
    perform check_confinement(null);
    select s.okx_uid, s.setting_type, p.problem into v_found
      from user_settings s
     cross join lateral _document_problem(s.settings) as p (problem)
     where s.is_active and p.problem is not null
     limit 1;
    if found then
        raise exception using errcode = 'US003',
            message = format('invalid %s of user %s in the backup', v_found.setting_type, v_found.okx_uid),
            detail = jsonb_build_object('$', v_found.problem);
    end if;
    update setting_types t set has_symbols = true    -- a backup made before there were symbols
     where t.setting_type = 'dual_side' and not exists (select from setting_types o where o.has_symbols);
    perform _describe_fields();    -- nor descriptions
    alter table app_users enable trigger user;
    alter table telegram_links enable trigger user;
    alter table user_settings enable trigger user;
    alter table okx_api_info enable trigger user;
    alter table setting_types enable trigger user;
    alter table setting_templates enable trigger user;
    update change_feed set era = gen_random_uuid()::text;    -- a reader's cursor is of what was there before
    delete from trigger_permits p where p.permit = 'restore';
    perform setval(pg_get_serial_sequence('public.scheduled_changes', 'id'), max(c.id)) from scheduled_changes c
     having max(c.id) >= nextval(pg_get_serial_sequence('public.scheduled_changes', 'id'));    -- the history names them by number
    perform erase_user(u.okx_uid) from app_users u where is_erased(u.okx_uid);
    insert into mirror_pending as m (owner, kind, version)
    select e.owner, e.kind, e.version from mirror_source e where e.encoding <> 'erased'
        on conflict (owner, kind) do update    -- erased since the backup was made
       set version = excluded.version, erased = false, discards = true, marked_at = now(), marked_by = excluded.marked_by,
           attempts = 0, last_error = null;
    get diagnostics v_count = row_count;
    return v_count;
end
$$;

comment on function end_restore() is
'Puts the triggers back after begin_restore(), erases again who was erased since the backup was made, and marks every key for Redis. Returns how many. Raises US003 if an active document is none.';
select _allow('end_restore', 'admin');
