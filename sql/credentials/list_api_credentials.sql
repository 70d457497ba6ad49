-- A confined session's user only. For rotation, and to compare with what Redis holds. Reads by index, no lock.
create or replace function list_api_credentials(p_okx_uids text[] default null, p_after uuid default null, p_limit integer default null)
returns setof okx_api_info
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only text := confined_to();
begin
    return query
    select * from okx_api_info c
     where c.api_key is not null
       and (v_only is null or c.okx_uid = v_only)
       and (p_okx_uids is null or c.okx_uid = any (p_okx_uids))
       and (p_after is null or c.id > p_after)
     order by c.id
     limit p_limit;
end
$$;

comment on function list_api_credentials(text[], uuid, integer) is
'All versions of API credentials, encrypted, of these OKX UIDs or of all, by id. p_after, p_limit: the next page.';
select _allow('list_api_credentials', 'writer relay admin');
