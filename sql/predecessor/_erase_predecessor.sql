-- Removes a person from the tables that the database was adopted from (the schema predecessor), if it was: those rows
-- that weren't taken, too. Called by erase_user(), whose locks hold off whoever would write.
create or replace function _erase_predecessor(p_user_id uuid, p_okx_uid text)
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_ids uuid[];
begin
    if not _has_predecessor('app_users') then
        return;
    end if;
    execute 'select array_agg(p.id) from predecessor.app_users p where p.id = $1 or p.okx_uid::text = $2'
       into v_ids using p_user_id, p_okx_uid;
    execute 'delete from predecessor.quarantine q
              where array[q.row_data ->> ''id'', q.row_data ->> ''user_id''] && $1::text[] or q.row_data ->> ''okx_uid'' = $2'
      using v_ids, p_okx_uid;
    if _has_predecessor('taken') then
        execute 'delete from predecessor.taken t where t.id = any ($1) or t.row_data ->> ''user_id'' = any ($1::text[])' using v_ids;
        execute 'delete from predecessor.kept k where k.row_data ->> ''user_id'' = any ($1::text[])' using v_ids;
    end if;
    if _has_predecessor('trades') then
        execute 'delete from predecessor.trades p where to_jsonb(p) ->> ''okx_uid'' = $2 or to_jsonb(p) ->> ''user_id'' = any ($1::text[])'
          using v_ids, p_okx_uid;
    end if;
    execute 'delete from predecessor.user_settings p where p.user_id = any ($1)' using v_ids;
    execute 'delete from predecessor.okx_api_info p where p.user_id = any ($1)' using v_ids;
    execute 'delete from predecessor.app_users p where p.id = any ($1)' using v_ids;
end
$$;

comment on function _erase_predecessor(uuid, text) is
'Removes a person from the schema predecessor, if the database was adopted. Called by erase_user().';
select _allow('_erase_predecessor', 'admin');
