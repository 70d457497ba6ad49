-- Counts for `status`; a confined session's are those of its user. Reads only.
create or replace function store_statistics()
returns table (users bigint, settings bigint, versions bigint, pending bigint, set_aside bigint)
language sql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select (select count(*) from app_users u where u.deleted_at is null and u.okx_uid = coalesce((select confined_to()), u.okx_uid)),
           (select count(*) from user_settings s
             where s.is_active and s.deleted_at is null and s.okx_uid = coalesce((select confined_to()), s.okx_uid)),
           (select count(*) from user_settings s where s.okx_uid = coalesce((select confined_to()), s.okx_uid)),
           l.waiting + l.set_aside, l.set_aside
      from pending_lag() l
$$;

comment on function store_statistics() is
'Counts of live users, active settings, versions in all, keys not mirrored yet and those set aside with an error.';
revoke execute on function store_statistics() from public;
