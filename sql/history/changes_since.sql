-- Behind the last transaction before which nothing was saved at that time or later. If nothing was at all: behind all that
-- can be read by now, so that looking again costs no search. Reads the index on user_settings from its beginning; no lock.
create or replace function changes_since(p_since timestamptz)
returns text
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_saved_in xid8 := (select s.saved_in from user_settings s where s.updated_at >= p_since order by s.saved_in, s.updated_at limit 1);
begin
    perform confined_to();
    return _change_cursor(_feed_state(), coalesce(v_saved_in, pg_snapshot_xmin(pg_current_snapshot())),
                          case when v_saved_in is null or p_since < '1970-01-01Z' then '-infinity' else p_since end,
                          '00000000-0000-0000-0000-000000000000', 1, '-');
end
$$;

comment on function changes_since(timestamp with time zone) is
'The cursor with which changes_after() begins with the first change that was saved then or later, and leaves out none of these. Example: select okx_uid, setting_type, version from changes_after(changes_since(now() - interval ''1 hour'')). Raises US012.';
select _allow('changes_since', 'reader writer admin');
