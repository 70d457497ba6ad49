-- So that they don't stop the rest. Of keys that PostgreSQL has; a newer mark stays, and in a confined session another user's.
-- The next write of a key or retry_pending() tries it again. The arrays are of one length. A mark that another transaction is
-- about to make counts as held; what it writes is for the caller to try again.
create or replace function fail_pending(p_owners text[], p_kinds text[], p_versions integer[], p_errors text[])
returns table (owner text, kind text)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set enable_seqscan = off
set jit = off
set lock_timeout = '10ms'
as $$
declare
    v_key  record;
    v_only text[] := confined_owners();
begin
    for v_key in
        select k.*, s.owner is not null as is_known
          from unnest(p_owners, p_kinds, p_versions, p_errors) as k (owner, kind, version, error)
          left join mirror_state(p_owners, p_kinds) s on s.owner = k.owner and s.kind = k.kind
         where k is not null and (v_only is null or k.owner = any (v_only))
    loop
        owner := v_key.owner;
        kind := v_key.kind;
        perform from mirror_pending m
          where m.owner = v_key.owner and m.kind = v_key.kind and m.version <= v_key.version for update skip locked;
        if found then
            update mirror_pending m set attempts = m.attempts + 1, last_error = left(v_key.error, 500)
             where m.owner = v_key.owner and m.kind = v_key.kind;
        elsif not exists (select from mirror_pending m where m.owner = v_key.owner and m.kind = v_key.kind) then
            begin
                insert into mirror_pending (owner, kind, version, attempts, last_error)
                select v_key.owner, v_key.kind, v_key.version, 1, left(v_key.error, 500) where v_key.is_known;
            exception when lock_not_available or unique_violation then    -- a writer was faster, and may yet roll back
                return next;
            end;
        elsif exists (select from mirror_pending m
                       where m.owner = v_key.owner and m.kind = v_key.kind and m.version <= v_key.version) then
            return next;
        end if;
    end loop;
end
$$;

comment on function fail_pending(text[], text[], integer[], text[]) is
'Sets keys aside in mirror_pending with the reason why these versions can''t be brought to Redis, also those that had no mark. Waits for nobody: returns the keys whose mark another transaction holds.';
select _allow('fail_pending', 'writer relay admin');
