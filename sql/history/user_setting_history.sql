-- A deletion is a version, too. What was saved at one moment is never torn apart by a page. Of deleted users, too, by OKX UID or
-- UUID. Secrets are masked. Reads by index; no lock.
create or replace function user_setting_history(
    p_identifier   text,
    p_setting_type text default null,
    p_before       timestamptz default null,
    p_limit        integer default null,
    p_symbol       text default null
)
returns table (okx_uid text, setting_type text, version integer, saved_at timestamptz, changed_by text,
               written_by text, change_reason text, is_deleted boolean, changes jsonb)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_generic_plan    -- planned for each array of names, a call costs twice as much
as $$
declare
    v_user  app_users := _resolve_user(p_identifier, true);
    v_names text[] := _document_names(v_user.id, p_setting_type, p_symbol);
begin
    return query
    select s.okx_uid, s.setting_type, s.version, s.updated_at, s.changed_by, s.written_by, s.change_reason, s.deleted_at is not null,
           case when s.version = 1 or b.version is not null
                then changes_as_json(s.setting_type, coalesce(b.settings, '{}'), s.settings) end
      from (select n.*
              from unnest(v_names) as t (setting_type)
             cross join lateral (select * from user_settings v    -- newest first by index, and no more than the page
                                  where v.user_id = v_user.id and v.setting_type = t.setting_type
                                    and (p_before is null or v.updated_at < p_before)
                                  order by v.version desc limit p_limit) n
             order by n.updated_at desc
             fetch first coalesce(p_limit, 2147483647) rows with ties) s
      left join lateral (select * from user_settings v
                          where v.user_id = s.user_id and v.setting_type = s.setting_type and v.version < s.version
                          order by v.version desc limit 1) b on true
     order by s.updated_at desc, s.setting_type;
end
$$;

comment on function user_setting_history(text, text, timestamp with time zone, integer, text) is
'Every version of a user''s settings, newest first: when, who (changed_by: as the session said, written_by: the login), why, what changed ([{key, change, old, new}]; null if the version before was pruned). p_before, p_limit: the next page. p_symbol: of the documents of that symbol only. Example: select version, changed_by, changes from user_setting_history(''587662504768345929'', ''params''). Raises US002, US004, US007, US010.';
select _allow('user_setting_history', 'reader writer admin');
