-- The marks go when Redis has none any more. Called by erase_user() before the rows go, whose versions the marks follow, and by
-- its siblings.
-- Of symbols those that PostgreSQL knows, and type:* for what else the relay finds in Redis.
create or replace function _mark_erased(p_owners text[])
returns void
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into mirror_pending as m (owner, kind, version, erased, marked_at)
    select k.owner, k.kind, coalesce(e.version, 0) + 1, true, clock_timestamp()
      from (select distinct unnest(p_owners)) as o (owner)
     cross join lateral (select o.owner, t.setting_type from setting_types t
                         union all select o.owner, _with_symbol(t.setting_type, '*') from setting_types t where t.has_symbols
                         union all select s.okx_uid, s.setting_type from user_settings s
                                    where s.okx_uid = o.owner and s.is_active and position(':' in s.setting_type) > 0
                         union all select o.owner, 'user'
                         union all select o.owner, 'api_keys') as k (owner, kind)
      left join lateral (select max(s.version) as version from mirror_source s where s.owner = k.owner and s.kind = k.kind) e on true
     where o.owner ~ '^[0-9]{16,20}$'
     union all
    select o.owner, 'telegram', coalesce(l.version, 0) + 1, true, clock_timestamp()
      from (select distinct unnest(p_owners)) as o (owner)
      left join telegram_links l on l.telegram_id = o.owner
     where o.owner ~ '^[0-9]{5,15}$'
        on conflict (owner, kind) do update
       set version = excluded.version, erased = true, marked_at = excluded.marked_at, marked_by = excluded.marked_by,
           attempts = 0, last_error = null;
    perform _notify_relay();
end
$$;

comment on function _mark_erased(text[]) is
'Marks all keys of erased people for Redis to lose.';
select _allow('_mark_erased', 'admin');
