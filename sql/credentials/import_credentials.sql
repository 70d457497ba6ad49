-- Who has none yet gets them in one statement for each reason: the triggers number and check the rows, and know by a permit that
-- the users are alive and locked, and the keys marked here. The others go one by one, by take_over_credentials(), which this
-- raises as. p_items: [{"okx_uid", "api_key", "api_secret", "passphrase", "reason"}, …]. Locks the users (for share), in order.
create or replace function import_credentials(p_items jsonb)
returns table (okx_uid text, version integer)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off    -- as in import_documents()
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
as $$
#variable_conflict use_column
declare
    v_given  text;
    v_reason text;
    v_saved  text[];
    v_taken  text[] := '{}';
begin
    perform check_identifiers(i.okx_uid, null), check_confinement(i.okx_uid) from jsonb_to_recordset(p_items) as i (okx_uid text);
    perform _check_erasures();
    insert into app_users (okx_uid)
    select i.okx_uid
      from (select r.okx_uid from jsonb_to_recordset(p_items) as r (okx_uid text)
             where not exists (select from app_users u where u.okx_uid = r.okx_uid)
            offset 0) i    -- few are left
     where not is_erased(i.okx_uid)
     order by i.okx_uid
        on conflict do nothing;
    perform from (select i.okx_uid from jsonb_to_recordset(p_items) as i (okx_uid text) order by i.okx_uid) i
      cross join lateral (select from app_users u where u.okx_uid = i.okx_uid for share) u;

    insert into trigger_permits (permit) values ('taken over');
    for v_reason in select distinct i.reason from jsonb_to_recordset(p_items) as i (reason text) loop
        v_given := _note_reason(v_reason);
        with saved as (
            insert into okx_api_info (user_id, okx_uid, api_key, api_secret, passphrase)
            select u.id, i.okx_uid, i.api_key, i.api_secret, i.passphrase
              from jsonb_to_recordset(p_items) as i (okx_uid text, api_key text, api_secret text, passphrase text, reason text)
              join app_users u on u.okx_uid = i.okx_uid and u.deleted_at is null
             where i.reason = v_reason
               and not exists (select from okx_api_info c where c.user_id = u.id)
               and not exists (select from mirror_pending m where m.owner = i.okx_uid and m.kind = 'api_keys')
             order by i.okx_uid
                on conflict do nothing
            returning okx_api_info.okx_uid
        ), marked as (
            insert into mirror_pending (owner, kind, version) select s.okx_uid, 'api_keys', 1 from saved s
        )
        select array_agg(s.okx_uid) into v_saved from saved s;
        perform set_config('settings_store.reason', v_given, true);
        v_taken := v_taken || v_saved;
    end loop;
    delete from trigger_permits p where p.permit = 'taken over';

    return query select t.okx_uid, 1 from unnest(v_taken) as t (okx_uid);
    if cardinality(v_taken) < jsonb_array_length(p_items) then
        return query
        select i.okx_uid, r.version
          from (select * from jsonb_to_recordset(p_items) as i (okx_uid text, api_key text, api_secret text, passphrase text, reason text)
                 where i.okx_uid <> all (v_taken) order by i.okx_uid) i
         cross join lateral take_over_credentials(i.okx_uid, i.api_key, i.api_secret, i.passphrase, i.reason) r;
    end if;
end
$$;

comment on function import_credentials(jsonb) is
'Saves API credentials that only Redis has, encrypted by the caller, and makes the users if need be: okx_uid and version of each, no version for a deleted or erased user. Used by sync. Raises US001, US003, US007, US012.';
select _allow('import_credentials', 'writer admin');
