-- In the writer's transaction: one row a key, the newest version. Locks that row until the transaction ends.
create or replace function _mark_pending(p_owner text, p_kind text, p_version integer)
returns void
language plpgsql    -- which keeps its plan; before PostgreSQL 18, sql doesn't
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_discards boolean := false;
begin
    if position(':' in p_kind) > 0 then    -- of a symbol: what Redis has of it may be from before an erasure
        v_discards := exists (select from mirror_pending e
                               where e.owner = p_owner and e.kind = _with_symbol(split_part(p_kind, ':', 1), '*') and e.erased);
    end if;
    insert into mirror_pending as m (owner, kind, version, discards) values (p_owner, p_kind, p_version, v_discards)
    on conflict (owner, kind) do update
        set version = case when m.erased then excluded.version else greatest(m.version, excluded.version) end,
            erased = false, discards = m.discards or m.erased, marked_at = now(), marked_by = excluded.marked_by,
            attempts = 0, last_error = null;
    perform _notify_relay();
end
$$;

comment on function _mark_pending(text, text, integer) is
'Marks a Redis key as older than PostgreSQL. owner: OKX UID, or Telegram ID for kind telegram. Called by triggers.';
select _allow('_mark_pending', 'admin');
