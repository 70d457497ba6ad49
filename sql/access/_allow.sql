-- The rights of a function, said at the end of its own file: `select _allow('find_user', 'reader writer')`. A trigger's
-- function is nobody's. Applied before the others, after roles.sql; roles that are missing are left out. Runs with the rights of
-- the caller, who owns the function: nobody else is let call this.
-- What reader, writer or relay may call is security definer; of what only the admin may call, that which takes the rights of
-- the tables' owner.
create or replace function _allow(p_function text, p_roles text default '')
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_known    constant text[] := array['reader', 'writer', 'relay', 'admin'];
    v_roles    constant text[] := string_to_array(p_roles, ' ');
    v_all      text;
    v_allowed  text;
    v_function regprocedure;
begin
    select string_agg(format('%I', r.rolname), ', '),
           string_agg(format('%I', r.rolname), ', ') filter (where k.role = any (v_roles))
      into v_all, v_allowed
      from unnest(v_known) as k (role)
      join pg_roles r on r.rolname = 'settings_' || k.role;
    for v_function in
        select p.oid from pg_proc p
         where p.proname = p_function and p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'usage')
           and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    loop
        execute format('revoke all on function %s from %s', v_function, concat_ws(', ', 'public', v_all));
        if v_allowed is not null then
            execute format('grant execute on function %s to %s', v_function, v_allowed);
        end if;
    end loop;
    if not found or not v_roles <@ v_known or p_roles is null then
        raise exception using errcode = 'US010',
            message = 'there is no such function to be called, or no such role',
            detail = format('Functions are those of %I in the schema public, roles %s.', current_user, array_to_string(v_known, ', ')),
            hint = 'select _allow(''find_user'', ''reader writer'')';
    end if;
end
$$;

comment on function _allow(text, text) is
'Lets these roles (of ''reader writer relay admin'') execute a function of this name, and takes that from the others of the four and from PUBLIC; without roles it is the owner''s only. Called by the files of sql/. Raises US010 (no such function or role).';
select _allow('_allow');
