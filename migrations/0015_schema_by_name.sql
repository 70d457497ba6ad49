-- What was applied of sql/ is known by the object's name: files move. Which release applied it. And every index and
-- constraint that migrations made, so that `status` can tell that one is missing, and `migrate` make it again.
-- depends: 0013_erasures

alter table schema_objects rename column file to name;
alter table schema_objects rename column file_hash to source_hash;
alter table schema_objects add column release text;
update schema_objects set name = regexp_replace(name, '^.*/|[.]sql$', '', 'g');

create table schema_parts (
    name       text primary key,
    table_name text not null,
    statement  text not null
);

comment on table schema_objects is 'Which file of sql/ was applied, by which release, and what the object looked like right after, so that `status` can tell drift.';
comment on table schema_parts is 'Every index and constraint that migrations made, and how to make it again, so that `status` can tell that one is missing or changed.';
