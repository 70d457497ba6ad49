-- By ensure_user(). Keys that a document lacks (missing_setting_keys) come in a new version whose reason, unless one is given,
-- is: missing keys filled. A document that the catalogue refuses for another key is left alone: a registration doesn't fail
-- for it. A deleted one of who has another stays deleted, unless p_documents has it. Idempotent.
-- Locks the user's row, then documents to be filled.
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
    v_user    app_users := ensure_user(p_okx_uid, p_telegram_id, p_name, p_telegram_username);
    v_has_any boolean;
    v_given   text;
    v_type    record;
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

    v_has_any := exists (select from user_settings s where s.user_id = v_user.id and s.is_active and s.deleted_at is null);
    v_given := _note_reason('missing keys filled');
    for v_type in    -- one by one, in the order in which everybody locks a user's documents
        select s.setting_type, default_user_setting(s.setting_type) as defaults
          from user_settings s where s.user_id = v_user.id and s.is_active order by s.setting_type
    loop
        update user_settings s set settings = v_type.defaults || s.settings
         where s.user_id = v_user.id and s.setting_type = v_type.setting_type and s.is_active and s.deleted_at is null
           and v_type.defaults || s.settings <> s.settings
           and not exists (select from validate_user_setting(s.setting_type, v_type.defaults || s.settings));
    end loop;
    perform set_config('settings_store.reason', v_given, true);

    perform upsert_user_setting(v_user.okx_uid, t.setting_type,
                                coalesce(p_documents -> t.setting_type,
                                         default_user_setting(t.setting_type) || coalesce(m.settings, '{}')))
       from (select t.setting_type from setting_types t union select d.key from jsonb_each(p_documents) d) t
       left join list_setting_templates(p_template) m on m.setting_type = t.setting_type
       left join user_settings s on s.user_id = v_user.id and s.setting_type = t.setting_type and s.is_active
      where s.id is null or s.deleted_at is not null and (not v_has_any or p_documents ? t.setting_type);
    return query select * from get_user_settings(v_user.okx_uid, p_must_exist => true);
end
$$;

comment on function register_user(text, text, text, text, jsonb, text) is
'Registers a user and saves a first document for every setting type that has none: from p_documents ({type: document}), else the catalogue''s defaults, with the keys of a template over them. Documents that are there get the defaults of keys that they lack; what was deleted of a user who has others stays deleted. Returns the active settings. Raises US002, US003, US007, US008, US009 (no such template).';
select _allow('register_user', 'writer admin');
