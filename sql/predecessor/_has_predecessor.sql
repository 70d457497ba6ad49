-- Whether the database was adopted from a predecessor that had this table: in the schema predecessor, if `migrate` made that.
-- In a schema that somebody else made under this name, anything could be: it isn't looked into. Reads only.
create or replace function _has_predecessor(p_table text)
returns boolean
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select exists (select from pg_namespace n
                     join pg_class o on o.oid = to_regclass('public.app_users') and o.relowner = n.nspowner
                     join pg_class c on c.relnamespace = n.oid and c.relname = p_table and c.relkind in ('r', 'p')
                    where n.nspname = 'predecessor')
$$;

comment on function _has_predecessor(text) is
'Whether the database was adopted from a predecessor that had this table, which is in the schema predecessor, made by the store''s owner.';
select _allow('_has_predecessor', 'admin');
