-- A feed that misses nothing. Sequences and times are taken before the commit, so none of them is the order of commits: who reads
-- up to the newest would miss what commits a moment later with a smaller one. So the order is that of transactions, and only
-- those are read before the oldest that is still under way (of the snapshot of this call): none of them can come any more. Such a
-- transaction of any database of the server holds the feed back as long as it is open, if it has written anything
-- (changes_held()); one that only reads doesn't. Within a transaction by time, which rises from version to version.
-- A version never comes before the one that it follows, though its transaction may have begun earlier: it takes that one's number then,
-- which is higher than its own, so nobody has read past it while it was open.
-- A page ends where its changes come to more than 4 MB. The probe's are left out; a confined session gets those of its user.
-- Of a standby, too. Reads by index, whatever the statistics say; no lock.
create or replace function changes_after(p_cursor text default null, p_limit integer default 1000)
returns table (okx_uid text, setting_type text, version integer, saved_at timestamptz, changed_by text, written_by text,
               change_reason text, is_deleted boolean, changes jsonb, cursor text)
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = on
set jit = off
as $$
declare
    v_only     constant text := confined_to();
    v_only_id  constant uuid := (select u.id from app_users u where u.okx_uid = v_only);
    v_snapshot constant pg_snapshot := pg_current_snapshot();
    v_feed     constant text := _feed_state();
    v_parts    text[] := regexp_match(p_cursor, '^([0-9a-f]{12})\.([0-9]{1,19})\.([0-9]{1,18}|-[0-9]{1,17}|-?infinity)\.([0-9a-f]{32})\.([1-9][0-9]{0,8})\.(.{1,200})$');
    v_from     user_settings;    -- the change behind which the page begins
    v_size     bigint := 0;
begin
    if p_limit is null or p_limit not between 1 and 10000 then
        raise exception using errcode = 'US010', message = 'a page has from 1 to 10000 changes';
    elsif p_cursor <> '' and v_parts is null then
        raise exception using errcode = 'US010', message = 'not a cursor of changes_after()',
            hint = 'A cursor is the column cursor of the last change that was read.';
    elsif v_parts[1] <> v_feed or v_parts[2]::xid8 > pg_snapshot_xmax(v_snapshot) and not pg_is_in_recovery() then
        raise exception using errcode = 'US010', message = 'the cursor is of another state of the database',
            detail = 'It was given before a restore, a failover or an upgrade of PostgreSQL; or there.',
            hint = 'Begin with changes_since(), a moment before the saved_at of the last change that was read: some come again.';
    elsif exists (select from user_settings s where s.saved_in >= pg_snapshot_xmax(v_snapshot)
                                                and s.saved_in is distinct from pg_current_xact_id_if_assigned()) then
        raise exception using errcode = 'US010', message = 'the settings were copied from another server, and changes have no order yet',
            hint = 'Run: settings-store migrate';
    elsif v_only <> '' and v_only_id is null then
        return;
    end if;
    if v_parts is not null then
        v_from.saved_in     := v_parts[2]::xid8;
        v_from.updated_at   := case when v_parts[3] like '%infinity' then v_parts[3]::timestamptz
                                    else to_timestamp(0) + v_parts[3]::bigint * interval '1 microsecond' end;
        v_from.user_id      := v_parts[4]::uuid;
        v_from.version      := v_parts[5]::integer;
        v_from.setting_type := v_parts[6];
    else
        v_from.saved_in     := '0';
        v_from.updated_at   := '-infinity';
        v_from.user_id      := '00000000-0000-0000-0000-000000000000';
        v_from.version      := 0;
        v_from.setting_type := '';
    end if;

    if v_only is null then    -- only an incremental sort is bounded by the page; PostgreSQL 15 took a whole one
        perform set_config('enable_sort', 'off', true);
    end if;
    for okx_uid, setting_type, version, saved_at, changed_by, written_by, change_reason, is_deleted, changes, cursor in
        select s.okx_uid, s.setting_type, s.version, s.updated_at, s.changed_by, s.written_by, s.change_reason, s.deleted_at is not null,
               case when s.version = 1 or b.version is not null
                    then changes_as_json(s.setting_type, coalesce(b.settings, '{}'), s.settings) end,
               _change_cursor(v_feed, s.saved_in, s.updated_at, s.user_id, s.version, s.setting_type)
          from (select * from user_settings n
                 where (n.saved_in, n.updated_at, n.user_id, n.setting_type, n.version)
                       > (v_from.saved_in, v_from.updated_at, v_from.user_id, v_from.setting_type, v_from.version)
                   and n.saved_in < pg_snapshot_xmin(v_snapshot)
                   and n.okx_uid <> probe_okx_uid() and (v_only is null or n.user_id = v_only_id)
                 order by n.saved_in, n.updated_at, n.user_id, n.setting_type, n.version
                 limit p_limit) s
          left join lateral (select * from user_settings v
                              where v.user_id = s.user_id and v.setting_type = s.setting_type and v.version < s.version
                              order by v.version desc limit 1) b on true
         order by s.saved_in, s.updated_at, s.user_id, s.setting_type, s.version
    loop
        return next;
        v_size := v_size + coalesce(pg_column_size(changes), 0);
        exit when v_size > 4000000;
    end loop;
end
$$;

comment on function changes_after(text, integer) is
'Committed changes of settings in an order in which a reader can go on, none left out: a row per version (as in user_setting_history(), secrets masked), and the cursor with which the next page begins behind it. p_cursor: null or empty for the oldest there is; changes_since() for a moment. p_limit: at most so many, 1 to 10000, fewer where they are large; a page is empty only if there is nothing yet: see changes_held(). Example: select okx_uid, setting_type, version, cursor from changes_after(null, 100). Raises US010 (no cursor, one of another state of the database, p_limit), US012.';
select _allow('changes_after', 'reader writer admin');
