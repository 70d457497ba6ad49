-- Of deleted users, too. US006 also if what was in force was pruned of one type only. Reads by index; no lock.
create or replace function user_setting_at(p_identifier text, p_setting_type text, p_at timestamptz, p_symbol text default null)
returns setof user_settings
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_generic_plan    -- planned for each array of names, a call costs twice as much
as $$
declare
    v_user   app_users := _resolve_user(p_identifier, true);
    v_names  text[] := _document_names(v_user.id, p_setting_type, p_symbol);
    v_oldest timestamptz;
    v_pruned text;
    v_iso    constant text := 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"';
begin
    select min(s.updated_at) into v_oldest from user_settings s where s.user_id = v_user.id and s.setting_type = any (v_names);
    -- What comes next isn't the version that follows: the one in force between them was pruned.
    select string_agg(format('%s version %s of %s', t.setting_type, n.version, n.saved_at), ', ' order by t.setting_type) into v_pruned
      from unnest(v_names) as t (setting_type)
      left join lateral (select v.version from user_settings v
                          where v.user_id = v_user.id and v.setting_type = t.setting_type and v.updated_at <= p_at
                          order by v.version desc limit 1) s on true
     cross join lateral (select v.version, to_char(v.updated_at at time zone 'UTC', v_iso) as saved_at from user_settings v
                          where v.user_id = v_user.id and v.setting_type = t.setting_type and v.updated_at > p_at
                          order by v.version limit 1) n
     where n.version <> coalesce(s.version, 0) + 1
       and (s.version is not null or p_at >= least(v_user.created_at, v_oldest));    -- before that there was nothing to prune
    if v_pruned is not null then
        raise exception using errcode = 'US006',
            message = format('what user %s had at that time was pruned', v_user.okx_uid),
            detail = format('kept from then on: %s', v_pruned);
    elsif p_at >= v_oldest then
        return query
        select s.*
          from unnest(v_names) as t (setting_type)
         cross join lateral (select * from user_settings v
                              where v.user_id = v_user.id and v.setting_type = t.setting_type and v.updated_at <= p_at
                              order by v.version desc limit 1) s
         where s.deleted_at is null
         order by s.setting_type;
    else
        raise exception using errcode = 'US006',
            message = format('no %s of user %s at that time', coalesce(_with_symbol(p_setting_type, p_symbol), 'settings'), v_user.okx_uid),
            detail = coalesce('the oldest version there is was saved at ' || to_char(v_oldest at time zone 'UTC', v_iso), 'nothing was ever saved');
    end if;
end
$$;

comment on function user_setting_at(text, text, timestamp with time zone, text) is
'The settings in force at a moment, of one type or (null) of all; none where they were deleted then. Example: select * from user_setting_at(''587662504768345929'', ''params'', ''2026-11-22 10:00+09''); of all types: user_setting_at(''587662504768345929'', null, now()). p_symbol: of the documents of that symbol only. Raises US002, US004, US006 (before the first version, or pruned), US007, US010.';
select _allow('user_setting_at', 'reader writer admin');
