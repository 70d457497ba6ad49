-- Of a database that was copied from another server (pg_restore), saved_in is of transactions there, which may not have come here
-- yet. All versions then come before all later ones, in the order of their time. Called by each migrate. Locks out writers, if so.
create or replace function arrange_changes()
returns void
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    if exists (select from user_settings s where s.saved_in >= pg_snapshot_xmax(pg_current_snapshot())
                                             and s.saved_in is distinct from pg_current_xact_id_if_assigned()) then
        alter table user_settings disable trigger user;
        update user_settings s set saved_in = '0' where s.saved_in <> '0';
        alter table user_settings enable trigger user;
        update change_feed set era = gen_random_uuid()::text;
    end if;
end
$$;

comment on function arrange_changes() is
'Gives the changes of a database that was copied from another server an order here. Called by migrate.';
select _allow('arrange_changes', 'admin');
