-- Registers a user (ensure_user) and gives every setting type a first document: the one in p_documents
-- ({type: document}), else the catalogue's defaults, with the keys of the template p_template over them for the types
-- it has. Documents already there stay; idempotent.
-- Returns the active settings. Raises US002, US003, US007, US008, US009. Locks the user's row.
create or replace function register_user(
    p_okx_uid           text,
    p_telegram_id       text default null,
    p_name              text default null,
    p_telegram_username text default null,
    p_documents         jsonb default '{}',
    p_template          text default 'default'
)
returns setof user_settings
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users := ensure_user(p_okx_uid, p_telegram_id, p_name, p_telegram_username);
begin
    if jsonb_typeof(p_documents) <> 'object' then
        raise exception using errcode = 'US003', message = 'invalid settings',
            detail = '{"$": "must be an object of documents by setting type"}';
    end if;
    perform check_setting_type(d.key) from jsonb_each(p_documents) d;
    if not exists (select from list_setting_templates(p_template) t where t.name = p_template) then
        raise exception using errcode = 'US009',
            message = format('there is no template %s', coalesce(quote_ident(left(p_template, 64)), 'null'));
    end if;

    perform upsert_user_setting(v_user.okx_uid, t.setting_type,
                                coalesce(p_documents -> t.setting_type,
                                         default_user_setting(t.setting_type) || coalesce(m.settings, '{}')))
       from setting_types t
       left join list_setting_templates(p_template) m on m.setting_type = t.setting_type
      where not exists (select from user_settings s
                         where s.user_id = v_user.id and s.setting_type = t.setting_type
                           and s.is_active and s.deleted_at is null);
    return query select * from get_user_settings(v_user.okx_uid);
end
$$;

comment on function register_user(text, text, text, text, jsonb, text) is
'Registers a user and saves a first document for every setting type that has none: from p_documents ({type: document}), else the catalogue''s defaults, with the keys of a template over them. Returns the active settings. Raises US002, US003, US007, US008, US009 (no such template).';
revoke execute on function register_user(text, text, text, text, jsonb, text) from public;
