-- The four roles, of the whole cluster: another database may be making them at this moment. A migrating user who can't
-- make roles goes on without: grants.sql grants to those there are, and the next `migrate` to those made since.
do $$
declare
    v_role text;
begin
    foreach v_role in array array['settings_reader', 'settings_writer', 'settings_relay', 'settings_admin'] loop
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
end
$$;
