-- Of an erased person who registers again the erasure is remembered on: what an older Redis has of before is of a former life.
-- depends: 0036_credentials_compared

alter table erased_people add column ended_at timestamptz;
alter table erased_people add column is_back boolean not null default false;
drop function if exists _forget_erased(text);    -- now _note_return()
drop function if exists clear_pending(text[], text[], integer[], boolean[]);    -- it takes one more

comment on table erased_people is 'Who was erased, OKX UIDs and Telegram IDs: keyed digests (erasure_digest), so that what an old copy of Redis still has of them is known for that.';
comment on column erased_people.ended_at is 'When that life ended: nothing of it is newer. Null: before there was this column.';
comment on column erased_people.is_back is 'Whether the person was registered again since.';
