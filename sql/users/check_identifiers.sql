-- Touches no table.
create or replace function check_identifiers(p_okx_uid text, p_telegram_id text)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_okx_uid is null or p_okx_uid !~ '^[0-9]{16,20}$' then
        raise exception using errcode = 'US007',
            message = 'not an OKX UID',
            detail = format('%s characters were given', coalesce(length(p_okx_uid), 0)),
            hint = 'An OKX UID has 16-20 digits.';
    end if;
    if p_telegram_id !~ '^[0-9]{5,15}$' then
        raise exception using errcode = 'US007',
            message = 'not a Telegram ID',
            detail = format('%s characters were given', length(p_telegram_id)),
            hint = 'A Telegram ID has 5-15 digits.';
    end if;
end
$$;

comment on function check_identifiers(text, text) is
'Raises US007 unless the first is an OKX UID (16-20 digits) and the second a Telegram ID (5-15 digits) or null.';
select _allow('check_identifiers', 'admin');
