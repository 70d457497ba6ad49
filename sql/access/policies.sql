-- Row-level policies. They hold those whom tables are granted to (settings_admin), not the tables' owner, nor a superuser, nor
-- the functions and triggers that run with the owner's rights: these check for themselves.
--   confinement   a session confined by settings_store.okx_uid sees and writes the rows of its user, in psql too
--   no_forgery    what triggers and functions keep, nobody inserts by hand, be it from a trigger of their own: versions of the
--                 history, links, what is run in others' names (scheduled changes).
--                 But for a restore, which puts back all there was (begin_restore)
--   readable, restored   the catalogue is read, and rollouts by who isn't confined, and written by functions only, or by a restore
-- Expressions are as PostgreSQL shows them, so that what is there already is left alone: a change locks out readers.
do $$
declare
    v_mine     constant text := '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ( SELECT confined_to() AS confined_to)))';
    v_all      constant text := '(( SELECT confined_to() AS confined_to) IS NULL)';
    v_restored constant text := '( SELECT _is_permitted(''restore''::text) AS _is_permitted)';
    v_policy   record;
begin
    for v_policy in
        select w.*, y.policyname is not null as is_there
          from (values
            ('app_users',      'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('user_settings',  'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('okx_api_info',   'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('trades',         'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('trade_orders',   'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_to() AS confined_to) IS NULL) OR (user_id = ( SELECT u.id
   FROM app_users u
  WHERE (u.okx_uid = ( SELECT confined_to() AS confined_to)))))', null),
            ('telegram_links', 'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_to() AS confined_to) IS NULL) OR (last_okx_uid = ( SELECT confined_to() AS confined_to)))', null),
            ('setting_templates', 'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ''''::text) OR (okx_uid = ( SELECT confined_to() AS confined_to)))', null),
            ('scheduled_changes', 'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('scheduled_change_users', 'confinement', 'PERMISSIVE', 'ALL', v_mine, null),
            ('trading_halts', 'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_to() AS confined_to) IS NULL) OR (COALESCE(okx_uid, ( SELECT confined_to() AS confined_to)) = ( SELECT confined_to() AS confined_to)))', null),
            ('setting_locks', 'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_to() AS confined_to) IS NULL) OR (okx_uid = ''''::text) OR (okx_uid = ( SELECT confined_to() AS confined_to)))', null),
            ('mirror_pending', 'confinement', 'PERMISSIVE', 'ALL', '((( SELECT confined_owners() AS confined_owners) IS NULL) OR (owner = ANY (( SELECT confined_owners() AS confined_owners)::text[])))', null),
            ('user_settings',  'no_forgery', 'RESTRICTIVE', 'INSERT', null, format('(is_active OR %s)', v_restored)),
            ('okx_api_info',   'no_forgery', 'RESTRICTIVE', 'INSERT', null, format('(is_active OR %s)', v_restored)),
            ('telegram_links', 'no_forgery', 'RESTRICTIVE', 'INSERT', null, v_restored),
            ('scheduled_changes', 'no_forgery', 'RESTRICTIVE', 'INSERT', null, v_restored),
            ('scheduled_change_users', 'no_forgery', 'RESTRICTIVE', 'INSERT', null, v_restored),
            ('trading_halts',  'no_forgery', 'RESTRICTIVE', 'INSERT', null, v_restored),
            ('setting_locks',  'no_forgery', 'RESTRICTIVE', 'INSERT', null, v_restored),
            ('setting_types',  'readable', 'PERMISSIVE', 'SELECT', 'true', null),
            ('setting_types',  'restored', 'PERMISSIVE', 'INSERT', null, v_restored),
            ('setting_fields', 'readable', 'PERMISSIVE', 'SELECT', 'true', null),
            ('setting_fields', 'restored', 'PERMISSIVE', 'INSERT', null, v_restored),
            ('setting_rules',  'readable', 'PERMISSIVE', 'SELECT', 'true', null),
            ('setting_rules',  'restored', 'PERMISSIVE', 'INSERT', null, v_restored),
            ('rollouts',        'readable', 'PERMISSIVE', 'SELECT', v_all, null),
            ('rollouts',        'restored', 'PERMISSIVE', 'INSERT', null, v_restored),
            ('rollout_users',   'confinement', 'PERMISSIVE', 'SELECT', v_mine, null),
            ('rollout_users',   'restored', 'PERMISSIVE', 'INSERT', null, v_restored),
            ('rollout_results', 'readable', 'PERMISSIVE', 'SELECT', v_all, null),
            ('rollout_results', 'restored', 'PERMISSIVE', 'INSERT', null, v_restored)
          ) as w (name, policy, permissive, command, visible, writable)
          join pg_class c on c.relname = w.name and c.relnamespace = 'public'::regnamespace
          left join pg_policies y on y.schemaname = 'public' and y.tablename = w.name and y.policyname = w.policy
         where not c.relrowsecurity
            or (y.permissive, y.roles, y.cmd, y.qual, y.with_check)
               is distinct from (w.permissive, array['public'::name], w.command, w.visible, w.writable)
    loop
        if v_policy.is_there then
            execute format('drop policy %I on %I', v_policy.policy, v_policy.name);
        end if;
        execute format('create policy %I on %I as %s for %s', v_policy.policy, v_policy.name, v_policy.permissive, v_policy.command)
             || coalesce(' using (' || v_policy.visible || ')', '') || coalesce(' with check (' || v_policy.writable || ')', '');
        execute format('alter table %I enable row level security', v_policy.name);
    end loop;
end
$$;
