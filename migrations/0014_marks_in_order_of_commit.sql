-- The relay sees what was committed since it last looked, however much else is marked; and every table has a key, or at least
-- an identity, without which PostgreSQL refuses updates and deletions as soon as a publication names all tables.
-- depends: 0013_erasures

alter table mirror_pending add column marked_by xid8 not null default pg_current_xact_id();
create index mirror_pending_marked_by on mirror_pending (marked_by) where last_error is null;
comment on column mirror_pending.marked_by is 'The transaction that marked it last; by it pending_keys() knows the marks that a snapshot didn''t show yet.';

alter table trigger_permits add column number bigint generated always as identity primary key;
comment on column trigger_permits.number is 'Only a key: two transactions may have the same permit.';

-- Of the tables that an adoption set aside, as sql/adoption/identities.sql has it for later ones.
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

-- What they take or return is another now.
drop function if exists pending_keys(text[], text[], integer, boolean);
drop function if exists fail_pending(text, text, integer, text);
drop function if exists keep_losing_credentials(text, text, text, text);
