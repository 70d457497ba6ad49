-- What has no primary key gets an identity: without one, PostgreSQL refuses erase_user() and a rollback as soon as a
-- publication names all tables.
do $$
declare
    v_table regclass;
begin
    for v_table in
        select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'predecessor' and c.relkind in ('r', 'p') and c.relreplident = 'd'
           and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
    loop
        execute format('alter table %s replica identity full', v_table);
    end loop;
end
$$;
