-- Makes a Telegram ID known that PostgreSQL never had, as one that leads to nobody, so that Redis loses its link. Whom it led
-- to there is kept (last_okx_uid). Nothing happens to one that is known, or of an erased person. Raises US007, US012.
create or replace function _note_link(p_telegram_id text, p_okx_uid text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_identifiers(p_okx_uid, p_telegram_id);
    perform check_confinement(p_okx_uid);
    if p_telegram_id is null or is_erased(p_telegram_id) or is_erased(p_okx_uid) then
        return;
    end if;
    insert into trigger_permits (permit) values ('link noted');
    insert into telegram_links (telegram_id, okx_uid, last_okx_uid) values (p_telegram_id, null, p_okx_uid)
        on conflict do nothing;
    delete from trigger_permits p where p.permit = 'link noted';
end
$$;

comment on function _note_link(text, text) is
'Makes a Telegram ID known that leads to nobody, so that Redis loses its link. Used by note_deleted_key() and import_links().';
select _allow('_note_link', 'admin');
