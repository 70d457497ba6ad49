-- With its results and what each user had before: nothing can be rolled back then. Locks the rollout.
create or replace function delete_rollout(p_name text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform _lock_rollout(p_name, '{ended}', 'End it first: end_rollout().');
    delete from rollouts r where r.name = p_name;
end
$$;

comment on function delete_rollout(text) is
'Forgets a rollout that has ended, with its results; users keep what they have. Example: select delete_rollout(''careful-first''). Raises US015 (no such rollout, or not ended).';
select _allow('delete_rollout', 'admin');
