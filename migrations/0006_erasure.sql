-- What it takes to erase a person: marks of keys whose rows are gone, and whom a Telegram ID led to last.
-- depends: 0005_templates

alter table mirror_pending
    add column erased boolean not null default false,
    add column discards boolean not null default false;
alter table telegram_links add column last_okx_uid text;
alter table telegram_links disable trigger user;    -- nothing that Redis holds changes
update telegram_links set last_okx_uid = okx_uid;
update telegram_links l set last_okx_uid = s.okx_uid    -- of those unlinked by now, as far as the history knows
  from (select distinct on (telegram_id) telegram_id, okx_uid from user_settings
         where telegram_id is not null order by telegram_id, updated_at desc) s
 where s.telegram_id = l.telegram_id and l.last_okx_uid is null;
alter table telegram_links enable trigger user;
create index telegram_links_last_okx_uid on telegram_links (last_okx_uid);

comment on column mirror_pending.erased is 'The user was erased: there is no row any more, the mark is all that Redis can be cleared by.';
comment on column mirror_pending.discards is 'The user was erased and registered again before Redis was cleared: what that holds goes, and not into the history.';
comment on column telegram_links.last_okx_uid is 'Whom it leads to, or led to last; by it, erase_user() finds the person''s earlier Telegram IDs.';

-- It takes p_erased now: the old signature would stay beside the new one.
drop function if exists clear_pending(text[], text[], integer[]);
