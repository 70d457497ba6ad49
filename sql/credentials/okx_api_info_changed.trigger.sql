-- It runs as the tables' owner, who alone may insert an archived row: see sql/access/policies.sql.
-- The live user's row is held (for share) so that delete_user() waits.
create or replace function okx_api_info_changed()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if tg_op = 'INSERT' and exists (select from trigger_permits p where p.permit = 'taken over') then
        return null;
    end if;
    if tg_op = 'INSERT' or (old.deleted_at is not null and new.deleted_at is null) then
        perform _check_owner(new.user_id, new.okx_uid, new.id);
    end if;
    perform _mark_pending(new.okx_uid, 'api_keys', new.version);
    if tg_op = 'UPDATE' and new.version > old.version then
        old.id        := gen_random_uuid();
        old.is_active := false;
        insert into okx_api_info select old.*;
    end if;
    return null;
end
$$;

comment on function okx_api_info_changed() is
'Trigger on okx_api_info: archives the version that a change replaces, marks the key in mirror_pending, needs a live user (US004).';
select _allow('okx_api_info_changed');

create or replace trigger okx_api_info_changed_insert
    after insert on okx_api_info
    for each row when (new.is_active) execute function okx_api_info_changed();

create or replace trigger okx_api_info_changed_update
    after update on okx_api_info
    for each row when (new.is_active and old is distinct from new) execute function okx_api_info_changed();
