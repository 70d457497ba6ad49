-- For whoever begins a rollout, or takes one back that has ended; they wait for each other. Who watches doesn't wait.
create or replace function _check_overlap(p_setting_type text, p_settings jsonb, p_name text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_found record;
begin
    lock table rollouts in share update exclusive mode;
    select r.name, r.state, (select string_agg(k, ', ' order by k) from jsonb_object_keys(r.settings) k where p_settings ? k) as keys into v_found
      from rollouts r
     where r.state <> 'ended' and r.setting_type = p_setting_type and r.name <> p_name
       and r.settings ?| array(select jsonb_object_keys(p_settings))
     limit 1;
    if found then
        raise exception using errcode = 'US015',
            message = format('another rollout changes the same keys of %s', p_setting_type),
            detail = format('The rollout %s, which is %s: %s.', quote_ident(v_found.name), v_found.state, v_found.keys),
            hint = 'End that one first: end_rollout().';
    end if;
end
$$;

comment on function _check_overlap(text, jsonb, text) is
'Raises US015 if another rollout that hasn''t ended gives the same keys of a setting type.';
select _allow('_check_overlap', 'admin');
