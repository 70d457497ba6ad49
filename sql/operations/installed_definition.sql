-- For the files of sql/access/: which of the roles there are (roles), what they and PUBLIC may do (grants), the row-level
-- policies (policies). `migrate` stores its hash, `status` compares. Reads only.
-- The same after pg_dump and restore, on another major version, in another session and with another collation: a view's
-- columns without their tables, as PostgreSQL 16 and newer name these only where there are several.
create or replace function installed_definition(p_name text)
returns text
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, YMD'
set intervalstyle = 'postgres'
set quote_all_identifiers = off
set plan_cache_mode = force_generic_plan
as $$
    select string_agg(d.definition, e'\n' order by d.definition collate "C")
      from (values (array['settings_reader', 'settings_writer', 'settings_relay', 'settings_admin'])) as v (roles)
     cross join lateral (
            select pg_get_functiondef(p.oid)
              from pg_proc p
             where p.proname = p_name and p.pronamespace = 'public'::regnamespace
            union all
            select concat_ws(' ', regexp_replace(pg_get_viewdef(c.oid), '\m[a-z_]+[.](?=[a-z_])', '', 'g'), c.reloptions)
              from pg_class c
             where c.relname = p_name and c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
            union all
            select t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
              from pg_trigger t
              join pg_proc p on p.oid = t.tgfoid
             where p.proname = p_name and not t.tgisinternal
            union all
            select p_name || ' ' || array(select r.rolname from pg_roles r where r.rolname = any (v.roles) order by 1)::text
             where p_name = 'roles'
            union all
            select 'grants ' || coalesce(string_agg(concat_ws(' ', o.name, lower(a.privilege_type), 'to', coalesce(r.rolname, 'public')), ', '
                                                    order by o.name collate "C", a.privilege_type, r.rolname), '')
              from (select p.oid, p.oid::regprocedure::text, p.proacl, p.proowner from pg_proc p where p.pronamespace = 'public'::regnamespace
                    union all
                    select c.oid, c.relname, c.relacl, c.relowner from pg_class c
                     where c.relnamespace = 'public'::regnamespace) as o (oid, name, acl, owner)
             cross join lateral aclexplode(o.acl) a
              left join pg_roles r on r.oid = a.grantee
             where p_name = 'grants' and not exists (select from pg_depend e where e.objid = o.oid and e.deptype = 'e')
               and (r.rolname = any (v.roles)
                    or a.grantee = 0 and o.owner = (select c.relowner from pg_class c where c.oid = to_regclass('public.user_settings')))
            having p_name = 'grants'
            union all
            select 'policies ' || coalesce(string_agg(concat_ws(' ', c.relname, c.relrowsecurity, y.policyname, y.permissive, y.roles, y.cmd,
                                                                y.qual, y.with_check), ', ' order by c.relname, y.policyname), '')
              from pg_class c
              left join pg_policies y on y.schemaname = 'public' and y.tablename = c.relname
             where p_name = 'policies' and c.relnamespace = 'public'::regnamespace and (c.relrowsecurity or y.policyname is not null)
            having p_name = 'policies') as d (definition)
$$;

comment on function installed_definition(text) is
'The source of the functions, views and triggers of this name, as installed. Used by migrate and status to tell drift.';
select _allow('installed_definition', 'reader writer relay admin');
