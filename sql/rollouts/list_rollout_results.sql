-- In the order of the looks. US012 in a confined session. No lock.
create or replace function list_rollout_results(p_name text)
returns setof rollout_results
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform check_confinement(null);
    if not exists (select from rollouts r where r.name = p_name) then
        raise exception using errcode = 'US015', message = format('there is no rollout %s', coalesce(quote_ident(left(p_name, 64)), 'null'));
    end if;
    return query
    select * from rollout_results x where x.rollout = p_name order by x.step, x.look;
end
$$;

comment on function list_rollout_results(text) is
'What each look at a rollout''s results found, in their order; \d+ rollout_results says what each column is. Example: select step, look, difference, upper, verdict from list_rollout_results(''careful-first''). Raises US012, US015 (no such rollout).';
select _allow('list_rollout_results', 'reader writer admin');
