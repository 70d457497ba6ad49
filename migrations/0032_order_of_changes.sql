-- In which order changes of settings were committed, so that a reader can go on where it was: changes_after().
-- depends: 0027_descriptions_and_rules

-- A constant first, which rewrites nothing: what was saved until now comes before all others, in the order of its time.
alter table user_settings add column saved_in xid8 not null default '0';
alter table user_settings alter column saved_in set default pg_current_xact_id();
create index idx_user_settings_saved_in on user_settings (saved_in, updated_at);
comment on column user_settings.saved_in is 'The transaction that saved this version, or a later one that had saved the version before; 0: before that was noted. By it changes_after() knows what was committed since; of this server only, so no backup has it.';

create table change_feed (
    is_only boolean primary key default true,
    era     text not null default gen_random_uuid()::text,
    constraint change_feed_one_row check (is_only)
);
insert into change_feed default values;
comment on table change_feed is 'One row, for changes_after(). Written by end_restore() and by migrate.';
comment on column change_feed.era is 'Part of each cursor. Another one as soon as the order of changes is another, after a restore.';
