-- Locks the rollout; watch_rollouts() passes it by meanwhile.
create or replace function _lock_rollout(p_name text, p_states text[], p_hint text)
returns rollouts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_row rollouts;
begin
    perform check_confinement(null);
    select * into v_row from rollouts r where r.name = p_name for no key update;
    if not found then
        raise exception using errcode = 'US015',
            message = format('there is no rollout %s', coalesce(quote_ident(left(p_name, 64)), 'null')),
            detail = coalesce((select 'known: ' || string_agg(k.name, ', ' order by k.begun_at desc)
                                 from (select r.name, r.begun_at from rollouts r order by r.begun_at desc limit 10) k), 'there are none');
    elsif v_row.state <> all (p_states) then
        raise exception using errcode = 'US015',
            message = format('the rollout %s is %s', quote_ident(p_name), v_row.state),
            detail = format('step %s of %s%s', v_row.step, cardinality(v_row.steps), ', ' || v_row.outcome),
            hint = coalesce(left(p_hint, 500), '');
    end if;
    return v_row;
end
$$;

comment on function _lock_rollout(text, text[], text) is
'A rollout in one of these states, locked. Raises US015 (no such rollout, or in another state; hint: what to do), US012.';
select _allow('_lock_rollout', 'admin');
