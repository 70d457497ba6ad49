-- Whoever is known is left alone, and so is the key of everybody's halts. Idempotent.
create or replace function erase_unknown(p_owners text[])
returns setof text
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_identifiers(case when length(o.owner) < 16 then '0000000000000000' else o.owner end,
                              case when length(o.owner) < 16 then o.owner end),
            check_confinement(o.owner)
       from unnest(p_owners) as o (owner);
    insert into erased_people (digest, ended_at)
    select _erasure_digest(o.owner), clock_timestamp() from unnest(p_owners) as o (owner)
     where o.owner <> everybody_okx_uid()
       and not exists (select from app_users u where u.okx_uid = o.owner)
       and not exists (select from telegram_links l where l.telegram_id = o.owner)
        on conflict (digest) do update set ended_at = excluded.ended_at, is_back = false;
    return query select * from clear_erased(p_owners);
end
$$;

comment on function erase_unknown(text[]) is
'Erases those of these OKX UIDs and Telegram IDs whom only Redis knows: remembers them as erased and marks their keys for Redis to lose. Returns them. Used by user erase. Raises US007, US012.';
select _allow('erase_unknown', 'admin');
