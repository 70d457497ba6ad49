-- Row-level policies: a session confined by settings_store.okx_uid sees and writes the rows of its user, in psql too. They
-- hold those whom tables are granted to (settings_admin), not the tables' owner, nor a superuser, nor the functions that
-- run with the owner's rights: these check for themselves.
-- Expressions are as PostgreSQL shows them, so that what is there already is left alone: a change locks out readers.
do $$
declare
    v_policy record;
begin
    for v_policy in
        select w.*, y.policyname is not null as is_there
          from (values
            ('app_users',      '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ( SELECT confined_to() AS confined_to)))'),
            ('user_settings',  '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ( SELECT confined_to() AS confined_to)))'),
            ('okx_api_info',   '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ( SELECT confined_to() AS confined_to)))'),
            ('trades',         '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ( SELECT confined_to() AS confined_to)))'),
            ('trade_orders',   '((( SELECT confined_to() AS confined_to) IS NULL) OR (user_id = ( SELECT u.id
   FROM app_users u
  WHERE (u.okx_uid = ( SELECT confined_to() AS confined_to)))))'),
            ('telegram_links', '((( SELECT confined_to() AS confined_to) IS NULL) OR (last_okx_uid = ( SELECT confined_to() AS confined_to)))'),
            ('mirror_pending', '((( SELECT confined_owners() AS confined_owners) IS NULL) OR (owner = ANY (( SELECT confined_owners() AS confined_owners)::text[])))')
          ) as w (name, expression)
          join pg_class c on c.relname = w.name and c.relnamespace = 'public'::regnamespace
          left join pg_policies y on y.schemaname = 'public' and y.tablename = w.name and y.policyname = 'confinement'
         where not c.relrowsecurity
            or (y.permissive, y.roles, y.cmd, y.qual, y.with_check) is distinct from ('PERMISSIVE', array['public'::name], 'ALL', w.expression, null)
    loop
        if v_policy.is_there then
            execute format('drop policy confinement on %I', v_policy.name);
        end if;
        execute format('create policy confinement on %I using %s', v_policy.name, v_policy.expression);
        execute format('alter table %I enable row level security', v_policy.name);
    end loop;
end
$$;
