-- The four roles, of the whole cluster: another database may be making them at this moment. A migrating user who can't
-- make roles goes on without: rights are given to those there are, and by the next `migrate` to those made since.
-- Then whatever they may call of the user who migrates in the schema public is taken from them: each function's file gives it
-- again (_allow()), in the same transaction. What belongs to an extension is left alone.
do $$
declare
    v_roles   constant text[] := array['settings_reader', 'settings_writer', 'settings_relay', 'settings_admin'];
    v_role    text;
    v_granted record;
begin
    foreach v_role in array v_roles loop
        if not exists (select from pg_catalog.pg_roles r where r.rolname operator(pg_catalog.=) v_role) then
            begin
                execute pg_catalog.format('create role %I nologin', v_role);
            exception
                when duplicate_object or unique_violation then
                    null;
                when insufficient_privilege then
                    raise warning 'the role % is missing, and the user % can''t make it', v_role, current_user;
            end;
        end if;
    end loop;

    select string_agg(distinct p.oid::regprocedure::text, ', ') as routines, string_agg(distinct r.rolname, ', ') as roles
      into v_granted
      from pg_proc p
     cross join aclexplode(p.proacl) a
      join pg_roles r on r.oid = a.grantee and r.rolname = any (v_roles)
     where p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'usage')
       and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e');
    if v_granted.routines is not null then
        execute format('revoke all on routine %s from %s', v_granted.routines, v_granted.roles);
    end if;
end
$$;
