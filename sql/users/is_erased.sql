-- Erased just now (the mark for Redis is there still) or any time before. What Redis has of such a person is never taken over.
-- Called by the imports from Redis, for owners that PostgreSQL doesn't know.
create or replace function is_erased(p_owner text)
returns boolean
language plpgsql stable    -- not sql: it is called for each key of a sync, and here the plan is kept
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    return exists (select from mirror_pending p where p.owner = p_owner and p.erased)
        or exists (select from erased_people)    -- else the digest needn't be made
           and exists (select from erased_people e where e.digest = _erasure_digest(p_owner) and not e.is_back);
end
$$;

comment on function is_erased(text) is
'Whether an OKX UID or Telegram ID is that of a person who was erased and not registered again.';
select _allow('is_erased', 'admin');
