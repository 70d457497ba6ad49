-- Makes users that aren't there, updates those that are, saves each document given in place of the active one. Fields and types
-- that aren't given stay as they are, users too. A masked secret keeps the value of the moment its document is locked; where
-- there is none it is left out, and counted. The reason, unless one is given: imported. Rows come in the order of p_users
-- (position, from 1; of the user itself with setting_type null), with the version (before, on a dry run).
-- US012 in a session confined to another user than all of these. Locks each user and each document that changes, one after
-- the other.
create or replace function import_users(p_users jsonb, p_dry_run boolean default false)
returns table ("position" integer, okx_uid text, setting_type text, outcome text, version integer,
               changes jsonb, problems jsonb, left_out integer, missing_keys text[])
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
#variable_conflict use_column
declare
    v_given text := _note_reason('imported');
    v_row   record;
    v_now   jsonb;
begin
    if jsonb_typeof(p_users) is distinct from 'array' then
        raise exception using errcode = 'US003', message = 'not a list of users', detail = '{"$": "must be an array of users"}';
    end if;
    perform check_confinement(i ->> 'okx_uid') from jsonb_array_elements(p_users) i where confined_to() is not null;
    for v_row in
        with item as materialized (
            select i.ordinality::integer as position, i.value as item, _user_problems(i.value) as problems
              from jsonb_array_elements(p_users) with ordinality i
        ), person as materialized (
            select i.*, i.item ->> 'okx_uid' as okx_uid, u.id, u.deleted_at, u.telegram_id, u.name, u.telegram_username
              from item i
              left join app_users u on u.okx_uid = i.item ->> 'okx_uid'
        )
        select p.position, p.okx_uid, null as setting_type, p.problems, null::jsonb as given, null::jsonb as after, null::jsonb as before, 0 as version, 0 as left_out,
               case when p.id is null or p.deleted_at is not null then 'new'
                    when (coalesce(p.item ->> 'telegram_id', p.telegram_id), coalesce(p.item ->> 'name', p.name),
                          coalesce(p.item ->> 'telegram_username', p.telegram_username))
                         is distinct from (p.telegram_id, p.name, p.telegram_username) then 'changed'
                    else 'unchanged' end as outcome,
               p.item
          from person p
        union all
        select p.position, p.okx_uid, d.key, c.problems, g.value, a.after, b.before, coalesce(s.version, 0), a.left_out,
               case when b.before is null then 'new' when a.after <> b.before then 'changed' else 'unchanged' end,
               null
          from person p
         cross join lateral jsonb_each(case when jsonb_typeof(p.item -> 'settings') = 'object' then p.item -> 'settings' end) d
          left join user_settings s on s.user_id = p.id and s.setting_type = d.key and s.is_active
         cross join lateral (select case when s.deleted_at is null then s.settings end as before) b
         cross join lateral (select _normalised_setting(d.key, d.value) as value) g
         cross join lateral (select case when jsonb_typeof(g.value) = 'object' then _unmask_secrets(d.key, g.value, coalesce(b.before, '{}'))
                                         else g.value end as after) u
         cross join lateral (select u.after, case when jsonb_typeof(g.value) = 'object'
                                                  then (select count(*)::integer from jsonb_object_keys(g.value) k where not u.after ? k)
                                                  else 0 end as left_out) a
         cross join lateral (select case when _setting_type_problem(d.key) is not null then jsonb_build_object('$', _setting_type_problem(d.key))
                                         else (select jsonb_object_agg(v.key, v.problem) from validate_user_setting(d.key, a.after) v)
                                    end as problems) c
         order by position, setting_type nulls first
    loop
        position     := v_row.position;
        okx_uid      := v_row.okx_uid;
        setting_type := v_row.setting_type;
        outcome      := case when v_row.problems is null then v_row.outcome else 'invalid' end;
        version      := case when v_row.setting_type is not null then v_row.version end;
        changes      := case when v_row.setting_type is not null and v_row.problems is null
                             then changes_as_json(v_row.setting_type, coalesce(v_row.before, '{}'), v_row.after) end;
        problems     := v_row.problems;
        left_out     := v_row.left_out;
        missing_keys := case when v_row.setting_type is not null and v_row.problems is null
                             then missing_setting_keys(v_row.setting_type, v_row.after) else '{}' end;
        if not p_dry_run then
            if v_row.problems is not null then
                raise exception using errcode = 'US003',
                    message = format('invalid %s of user %s of the list', coalesce(v_row.setting_type, 'data'), v_row.position),
                    detail = v_row.problems;
            elsif v_row.outcome = 'unchanged' then
                null;
            elsif v_row.setting_type is null then
                perform ensure_user(v_row.okx_uid, v_row.item ->> 'telegram_id', v_row.item ->> 'name', v_row.item ->> 'telegram_username');
            else
                if v_row.after <> v_row.given then    -- masked: somebody may have saved another secret since
                    select s.settings into v_now from user_settings s
                     where s.okx_uid = v_row.okx_uid and s.setting_type = v_row.setting_type and s.is_active and s.deleted_at is null
                       for no key update;
                    v_row.after := _unmask_secrets(v_row.setting_type, v_row.given, coalesce(v_now, '{}'));
                end if;
                version := (upsert_user_setting(v_row.okx_uid, v_row.setting_type, v_row.after)).version;
            end if;
        end if;
        return next;
    end loop;
    perform set_config('settings_store.reason', v_given, true);
end
$$;

comment on function import_users(jsonb, boolean) is
'Takes users with settings as export_users() writes them: a row per user and per document with outcome new, changed, unchanged or invalid, the changes, the problems, and which keys of the catalogue the document lacks. p_dry_run: only tell. Otherwise a problem refuses everything. Raises US003, US008.';
select _allow('import_users', 'admin');
