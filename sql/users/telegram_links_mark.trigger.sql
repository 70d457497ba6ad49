-- In the same transaction.
create or replace function telegram_links_mark()
returns trigger
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform _note_return(new.telegram_id);
    end if;
    perform _mark_pending(new.telegram_id, 'telegram', new.version);
    return null;
end
$$;

comment on function telegram_links_mark() is
'Trigger on telegram_links: marks the key in mirror_pending.';
select _allow('telegram_links_mark');

create or replace trigger telegram_links_mark
    after insert or update on telegram_links
    for each row execute function telegram_links_mark();
