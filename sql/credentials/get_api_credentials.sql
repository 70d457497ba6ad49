-- Reads by index, no lock.
create or replace function get_api_credentials(p_identifier text)
returns setof okx_api_info
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := _resolve_user(p_identifier);
begin
    return query
    select * from okx_api_info c where c.user_id = v_user.id and c.is_active and c.deleted_at is null;
end
$$;

comment on function get_api_credentials(text) is
'The active API credentials of a user, encrypted; no row if there are none. Raises US004, US007.';
select _allow('get_api_credentials', 'reader writer admin');
