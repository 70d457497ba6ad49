-- What the older app_users had and ours lacks is derived: telegram_linked, telegram_userid, okx_linked and okx_api_connected
-- always; email and exchange only where no such column is left. Reads by index, no lock.
create or replace function user_record(p_identifier text)
returns table (account jsonb, api jsonb)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_owner uuid;
    v_user  app_users;
begin
    if p_identifier ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' then
        select c.user_id into v_owner from okx_api_info c where c.id = p_identifier::uuid and c.is_active;
    end if;
    v_user := _resolve_user(coalesce(v_owner::text, p_identifier));
    return query
    select '{"email": null}' || to_jsonb(v_user) || f.facts || jsonb_build_object('okx_api_connected', c.id is not null),
           jsonb_build_object('exchange', coalesce(to_jsonb(v_user) ->> 'exchange', 'okx')) || to_jsonb(c) || f.facts
      from (select jsonb_build_object('telegram_id', v_user.telegram_id, 'telegram_userid', v_user.telegram_id,
                                      'telegram_linked', v_user.telegram_id is not null, 'okx_linked', true)) f (facts)
      left join okx_api_info c on c.user_id = v_user.id and c.is_active and c.deleted_at is null;
exception
    when sqlstate 'US004' then
        return;
end
$$;

comment on function user_record(text) is
'A user and the active API credentials (ciphertext; null if there are none) as JSON, with the columns that callers of the older schema know; no row if nobody has the identifier, which may be the credentials'' id, too. Used by TimescaleUserService. Raises US007 for what can''t be an identifier.';
select _allow('user_record', 'reader writer admin');
