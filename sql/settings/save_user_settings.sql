-- Raises as upsert_user_setting() does. Locks the rows in the types' order, so two callers can't deadlock.
create or replace function save_user_settings(p_identifier text, p_documents jsonb)
returns setof user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_document record;
begin
    if jsonb_typeof(p_documents) is distinct from 'object' then
        raise exception using errcode = 'US003', message = 'invalid settings',
            detail = '{"$": "must be an object of documents by setting type"}';
    end if;
    perform _lock_user(p_identifier);    -- the user's row before the settings'
    for v_document in select * from jsonb_each(p_documents) d order by d.key loop
        return next upsert_user_setting(p_identifier, v_document.key, v_document.value);
    end loop;
end
$$;

comment on function save_user_settings(text, jsonb) is
'Saves several documents of a user, {"params": {…}, "dual_side": {…}}, all or none; returns their rows. Raises US002, US003, US004, US007.';
select _allow('save_user_settings', 'writer admin');
