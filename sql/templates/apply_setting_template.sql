-- All or none. p_identifiers: who has no such document gets one. p_filter '{}': everybody who has one; a confined session:
-- its user only. The reason, unless one is given: template NAME. The version is that before, on a dry run; changes are []
-- where nothing had to change. Locks the users in the order of their OKX UIDs (as first saves of others would get in the way
-- of its own), then their documents.
create or replace function apply_setting_template(
    p_name         text,
    p_setting_type text,
    p_identifiers  text[] default null,
    p_filter       jsonb default null,
    p_replace      boolean default false,
    p_dry_run      boolean default false,
    p_symbol       text default null,
    p_owner        text default null
)
returns table (okx_uid text, setting_type text, version integer, changes jsonb, missing_keys text[])
language plpgsql
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_template jsonb := (setting_template(p_name, p_setting_type, p_owner)).settings;
    v_filter   jsonb := _normalised_setting(p_setting_type, p_filter);
    v_document text := _with_symbol(p_setting_type, p_symbol);
    v_given    text := _note_reason(format('template %s', p_name));
    v_users    uuid[];
    v_locked   integer;
begin
    perform check_setting_type(v_document);
    if num_nonnulls(p_identifiers, p_filter, p_owner) <> 1 then
        raise exception using errcode = 'US010',
            message = 'a template is applied to a list of users or to those a filter finds, a user''s own to that user: give one of these';
    end if;
    loop
        if p_filter is null then
            select array_agg(distinct (_resolve_user(i)).id) into v_users from unnest(coalesce(p_identifiers, array[p_owner])) i;
        else
            select array_agg(s.user_id) into v_users from find_users_by_setting(v_document, p_filter) s;
        end if;
        exit when p_dry_run;
        perform from app_users u where u.id = any (v_users) and u.deleted_at is null order by u.okx_uid for no key update;
        get diagnostics v_locked = row_count;
        exit when p_filter is not null or v_locked = coalesce(cardinality(v_users), 0);    -- else somebody went meanwhile
    end loop;
    if not p_dry_run then
        perform from user_settings s
          where s.user_id = any (v_users) and s.setting_type = v_document and s.is_active
          order by s.okx_uid for no key update;
    else    -- what the triggers would refuse
        perform _check_settings(v_document, w.after), case when s.id is not null then _check_locks(u.okx_uid, v_document, s.settings, w.after) end
           from (select a.id, a.okx_uid from app_users a where a.id = any (v_users)) u
           left join user_settings s
             on s.user_id = u.id and s.setting_type = v_document and s.is_active and s.deleted_at is null
          cross join lateral (
                select case when p_replace then v_template else coalesce(s.settings, '{}') || v_template end as after) w
          where s.settings is distinct from w.after;
    end if;

    return query
    with found as materialized (
        select u.id as user_id, u.okx_uid, u.telegram_id, s.id, s.version, s.deleted_at,
               coalesce(case when s.deleted_at is null then s.settings end, '{}') as settings
          from app_users u
          left join user_settings s on s.user_id = u.id and s.setting_type = v_document and s.is_active
         where u.id = any (v_users) and u.deleted_at is null
           and (p_filter is null or s.deleted_at is null and s.settings @> v_filter)
    ), wanted as materialized (
        select f.*, case when p_replace then v_template else f.settings || v_template end as after from found f
    ), updated as (
        update user_settings s set settings = w.after, deleted_at = null
          from wanted w
         where s.id = w.id and not p_dry_run and (s.settings <> w.after or s.deleted_at is not null)
        returning s.user_id, s.version
    ), inserted as (
        insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
        select w.user_id, w.okx_uid, w.telegram_id, v_document, w.after
          from wanted w where w.id is null and not p_dry_run
        returning user_id, version
    )
    select w.okx_uid, v_document, coalesce(n.version, w.version, 0), changes_as_json(v_document, w.settings, w.after),
           missing_setting_keys(v_document, w.after)
      from wanted w
      left join (select * from updated union all select * from inserted) n on n.user_id = w.user_id
     order by w.okx_uid;
    perform set_config('settings_store.reason', v_given, true);
end
$$;

comment on function apply_setting_template(text, text, text[], jsonb, boolean, boolean, text, text) is
'Applies a template to a list of users, or to everybody whose document contains p_filter, in one statement. p_replace: it becomes the document, else its keys replace the document''s. p_dry_run: a preview. p_symbol: to their documents of that symbol. p_owner: a user''s own template, to that user. missing_keys: what the document lacks afterwards of the keys that the catalogue lists. Example: select okx_uid, changes from apply_setting_template(''careful'', ''params'', p_filter => ''{"leverage": 20}'', p_dry_run => true). Raises US002, US003, US004, US007, US009 (no such template), US010.';
select _allow('apply_setting_template', 'admin');
