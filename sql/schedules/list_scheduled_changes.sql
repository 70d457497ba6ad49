-- Newest first. Secrets are masked. A confined session: those that are of its user alone. By index; no lock.
create or replace function list_scheduled_changes(
    p_identifier text default null,
    p_to_come    boolean default false,
    p_before     bigint default null,
    p_limit      integer default null,
    p_id         bigint default null
)
returns setof scheduled_changes
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan
as $$
declare
    v_only   text := confined_to();
    v_user   app_users;
    v_change scheduled_changes;
begin
    if p_identifier is not null then
        v_user := _resolve_user(p_identifier, true);
    end if;
    for v_change in
        select * from scheduled_changes c
         where (v_only is null or c.okx_uid = v_only) and (not p_to_come or c.due_at is not null)
           and (p_id is null or c.id = p_id) and (p_before is null or c.id < p_before)
           and (v_user.id is null or c.id in (select i.schedule_id from scheduled_change_users i where i.user_id = v_user.id))
         order by c.id desc limit p_limit
    loop
        return next _shown_change(v_change);
    end loop;
end
$$;

comment on function list_scheduled_changes(text, boolean, bigint, integer, bigint) is
'Scheduled changes, newest first: what is to be done when, by whom and why, and what became of it (state, changed, note). p_identifier: those of this user, also of lists; p_to_come: only those that aren''t over; p_before, p_limit: the next page; p_id: one. Secrets are masked. Example: select id, state, at, note from list_scheduled_changes(p_to_come => true). Raises US004, US007.';
select _allow('list_scheduled_changes', 'reader writer admin');
