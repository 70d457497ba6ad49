-- The definition of every function, view and trigger of this name as the catalog has it; NULL if there is
-- none. `migrate` stores its hash, `status` compares. Reads only.
create or replace function installed_definition(p_name text)
returns text
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select string_agg(d.definition, e'\n' order by d.definition)
      from (select pg_get_functiondef(p.oid)
              from pg_proc p
             where p.proname = p_name and p.pronamespace = 'public'::regnamespace
            union all
            select pg_get_viewdef(c.oid)
              from pg_class c
             where c.relname = p_name and c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
            union all
            select t.tgenabled::text || ' ' || pg_get_triggerdef(t.oid)
              from pg_trigger t
              join pg_proc p on p.oid = t.tgfoid
             where p.proname = p_name and not t.tgisinternal) as d (definition)
$$;

comment on function installed_definition(text) is
'The source of the functions, views and triggers of this name, as installed. Used by migrate and status to tell drift.';
revoke execute on function installed_definition(text) from public;
