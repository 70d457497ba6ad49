-- They become a version, which the active ones (or the deletion, of a deleted user, too) then replace again. Nothing happens to
-- a user who never had any, or whose earlier ones were erased. p_newest: the newest version that the caller, who alone can
-- decrypt, has compared them with; if there are newer ones, which may be these very credentials, nothing is kept. Raises US003
-- (plain text), US012. Locks the active row, and waits for nobody.
create or replace function keep_losing_credentials(
    p_okx_uid    text,
    p_api_key    text,
    p_api_secret text,
    p_passphrase text,
    p_newest     integer default null
)
returns boolean
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set lock_timeout = '10ms'
as $$
declare
    v_active okx_api_info;
    v_given  text;
begin
    perform check_confinement(p_okx_uid);
    select * into v_active from okx_api_info c where c.okx_uid = p_okx_uid and c.is_active for no key update;
    if not found or exists (select from mirror_pending p where p.owner = p_okx_uid and p.kind = 'api_keys' and p.discards) then
        return true;
    elsif exists (select from okx_api_info c where c.user_id = v_active.user_id and c.version > p_newest and c.api_key is not null) then
        return false;
    end if;
    v_given := _note_reason('found in Redis, lost against PostgreSQL');
    insert into trigger_permits (permit, id) values ('keep as found', v_active.id);
    update okx_api_info c
       set api_key = p_api_key, api_secret = p_api_secret, passphrase = p_passphrase, deleted_at = null
     where c.id = v_active.id;
    perform set_config('settings_store.reason', 'put back', true);
    update okx_api_info c
       set api_key = v_active.api_key, api_secret = v_active.api_secret, passphrase = v_active.passphrase,
           deleted_at = v_active.deleted_at
     where c.id = v_active.id;
    perform set_config('settings_store.reason', v_given, true);
    delete from trigger_permits p where p.permit = 'keep as found' and p.id is not distinct from v_active.id;
    return true;
exception when lock_not_available then
    return false;
end
$$;

comment on function keep_losing_credentials(text, text, text, text, integer) is
'Keeps API credentials found in Redis, encrypted by the caller, in the history, though the active ones stay in force. p_newest: the newest version they were compared with. Returns false if another transaction holds a row, or there is a newer version: compare again.';
select _allow('keep_losing_credentials', 'writer relay admin');
