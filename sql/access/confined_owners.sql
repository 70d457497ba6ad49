-- The Telegram IDs that lead to that user or led there last. Raises US012 (see confined_to). Reads by index, no lock.
create or replace function confined_owners()
returns text[]
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_okx_uid text := confined_to();
begin
    return case when v_okx_uid is not null
                then v_okx_uid || array(select l.telegram_id from telegram_links l where l.last_okx_uid = v_okx_uid) end;
end
$$;

comment on function confined_owners() is
'The owners of Redis keys (OKX UID, Telegram IDs) that this session is confined to, null if it isn''t.';
select _allow('confined_owners', 'admin');
