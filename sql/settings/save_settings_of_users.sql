-- All or none, for many users: one transaction takes a fraction of what as many take. Locks the users in the order of their OKX
-- UIDs, then their documents in the same order, so that two callers can't deadlock.
create or replace function save_settings_of_users(
    p_documents    jsonb,
    p_setting_type text,
    p_symbol       text default null
)
returns table (identifier text, setting user_settings)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_name     text := _with_symbol(p_setting_type, p_symbol);
    v_detail   text;
    v_message  text;
    v_document record;
    v_uids     text[] := '{}';
    v_given    text[] := '{}';
begin
    if jsonb_typeof(p_documents) is distinct from 'object' then
        raise exception using errcode = 'US003', message = 'invalid settings',
            detail = '{"$": "must be an object of documents by identifier"}';
    end if;
    perform check_setting_type(v_name);
    for v_document in
        select k.identifier, u.okx_uid
          from jsonb_object_keys(p_documents) k (identifier) cross join lateral _resolve_user(k.identifier) u
         order by u.okx_uid
    loop
        if v_document.okx_uid = v_uids[cardinality(v_uids)] then
            raise exception using errcode = 'US010',
                message = format('user %s is named twice', v_document.okx_uid),
                hint = 'Name each user by one identifier.';
        end if;
        v_uids  := v_uids || (_lock_user(v_document.okx_uid)).okx_uid;    -- the users' rows before the settings'
        v_given := v_given || v_document.identifier;
    end loop;
    for i in 1 .. cardinality(v_uids) loop
        identifier := v_given[i];
        setting := upsert_user_setting(v_uids[i], v_name, p_documents -> identifier);
        return next;
    end loop;
exception
    when sqlstate 'US003' then    -- the triggers don't say whose
        get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
        raise exception using errcode = 'US003', message = concat_ws(' of ', v_message, identifier),
            detail = v_detail, hint = 'Nobody''s document was saved.';
    when sqlstate 'US013' then
        get stacked diagnostics v_message = message_text, v_detail = pg_exception_detail;
        raise exception using errcode = 'US013', message = format('%s: %s', identifier, v_message),
            detail = v_detail, hint = 'Nobody''s document was saved.';
end
$$;

comment on function save_settings_of_users(jsonb, text, text) is
'Saves a document of one setting type for each of many users, {"587662504768345929": {…}, …}, all or none; returns their rows with the identifiers they were given by, in the order of OKX UIDs. p_symbol: their documents of that symbol. Example: select identifier, (setting).version from save_settings_of_users(''{"587662504768345929": {"timeframe": "5m"}}'', ''preferences''). Raises US002, US003 (the message says whose), US004 (the message says who), US007, US010 (no symbol, or not of this type; a user named twice), US013 (the message says whose).';
select _allow('save_settings_of_users', 'writer admin');
