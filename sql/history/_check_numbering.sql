-- For triggers: a statement that writes a version other than the one there is, or the next, would be told UPDATE 1 and lost.
create or replace function _check_numbering(p_given integer, p_next integer)
returns void
language plpgsql immutable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if p_given is distinct from p_next then
        raise exception using errcode = 'US005',
            message = 'versions are numbered by the store',
            detail = format('This would be version %s.', p_next),
            hint = 'Leave the column version alone; rollback_user_setting() brings an earlier version back.';
    end if;
end
$$;

comment on function _check_numbering(integer, integer) is
'Refuses (US005) a version that a statement gives, unless it is the next one. Called by triggers for one that differs from the old.';
select _allow('_check_numbering', 'admin');
