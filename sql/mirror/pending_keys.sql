-- Keys that Redis may not have, with what it should hold now: marks joined with the current state, in the order of owner and
-- kind. p_after_owner, p_after_kind: go on behind this key. p_since: only marks that this snapshot didn't show yet (the newest,
-- if they are more than p_limit), by an index, however many others there are. p_owners and p_kinds limit it to those (p_owners
-- goes before p_since), a confined session to the keys of its user. Keys set aside with an error are left out unless
-- p_include_failed. Ends after p_limit keys, or with the key that makes the documents p_characters long. waited: the age of the
-- mark, that is, of its writer's transaction. A mark of what PostgreSQL has nothing of comes with owner, kind and version only.
-- Takes no lock, so no writer waits. Reads by index, whatever the statistics say.
create or replace function pending_keys(
    p_owners         text[] default null,
    p_kinds          text[] default null,
    p_limit          integer default 1000,
    p_include_failed boolean default false,
    p_after_owner    text default '',
    p_after_kind     text default '',
    p_since          pg_snapshot default null,
    p_characters     bigint default 16000000
)
returns table (
    owner text, kind text, suffix text, encoding text, version integer, updated_at timestamptz, document jsonb, waited interval
)
language plpgsql stable    -- not sql: the relay calls this often, and here the plan is kept
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
    v_only       text[] := confined_owners();
    v_marks      mirror_pending[];
    v_characters bigint := 0;
begin
    if p_owners is not null then
        v_marks := array(select p from mirror_pending p
                          where p.owner = any (p_owners) and (v_only is null or p.owner = any (v_only))
                            and (p.owner, p.kind) > (p_after_owner, p_after_kind)
                            and (p_kinds is null or p.kind = any (p_kinds)) and (p_include_failed or p.last_error is null)
                          order by p.owner, p.kind
                          limit p_limit);
    elsif p_since is not null then
        v_marks := array(select p from mirror_pending p
                          where p.marked_by >= pg_snapshot_xmin(p_since) and not pg_visible_in_snapshot(p.marked_by, p_since)
                            and p.last_error is null and (v_only is null or p.owner = any (v_only))
                          order by p.marked_by desc    -- what was just saved is not last
                          limit p_limit);
    else
        v_marks := array(select p from mirror_pending p
                          where (p.owner, p.kind) > (p_after_owner, p_after_kind) and (v_only is null or p.owner = any (v_only))
                            and (p_kinds is null or p.kind = any (p_kinds)) and (p_include_failed or p.last_error is null)
                          order by p.owner, p.kind
                          limit p_limit);
    end if;
    if cardinality(v_marks) = 0 then
        return;    -- as most looks of the relay end
    end if;
    for owner, kind, suffix, encoding, version, updated_at, document, waited in
        select m.owner, m.kind, s.suffix, s.encoding, coalesce(s.version, m.version), s.updated_at, s.document,
               clock_timestamp() - m.marked_at
          from unnest(v_marks) m
          left join mirror_source s on s.owner = m.owner and s.kind = m.kind
                                   and s.owner = any (array(select k.owner from unnest(v_marks) k))    -- by index, as mirror_state()
         order by m.owner, m.kind
    loop
        return next;
        v_characters := v_characters + coalesce(length(document::text), 0);
        exit when v_characters >= p_characters;
    end loop;
end
$$;

comment on function pending_keys(text[], text[], integer, boolean, text, text, pg_snapshot, bigint) is
'What is to be mirrored: the current state of every key marked in mirror_pending (of these owners and kinds; behind this key; since that snapshot), in the order of owner and kind; without those set aside, unless p_include_failed. Columns are those of the view mirror_source, and how long the mark has waited.';
select _allow('pending_keys', 'writer relay admin');
