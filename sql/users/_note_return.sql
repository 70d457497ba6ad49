-- What Redis may have of before is marked to go first, as after the erasure itself, and isn't taken over by a sync that has
-- read it already. Called by triggers on app_users and telegram_links, before they mark what is new.
create or replace function _note_return(p_owner text)
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if not exists (select from erased_people) then
        return;
    end if;
    update erased_people e set is_back = true where e.digest = _erasure_digest(p_owner) and not e.is_back;
    if found then
        perform nextval('erasure_count');    -- _check_erasures()
        perform _mark_erased(array[p_owner])
          where not exists (select from mirror_pending p where p.owner = p_owner and p.erased);    -- else those of the erasure do
    end if;
end
$$;

comment on function _note_return(text) is
'Notes that an erased person is registered again, who begins with nothing. Called by triggers.';
select _allow('_note_return', 'admin');
