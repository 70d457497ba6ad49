drop table schema_parts;
delete from schema_objects;    -- what it lists is gone already
alter table schema_objects drop column release;
alter table schema_objects rename column source_hash to file_hash;
alter table schema_objects rename column name to file;
