-- After the credentials were encrypted, if there was a key to do it with: else `keys encrypt-existing` does it later. What the
-- tables set aside hold of them is what the store's table holds.
update predecessor.okx_api_info p set api_key = c.api_key, api_secret = c.api_secret, passphrase = c.passphrase
  from public.okx_api_info c
 where c.id = p.id and c.version > 0;

alter table app_users enable trigger user;
alter table telegram_links enable trigger user;
alter table user_settings enable trigger user;
alter table okx_api_info enable trigger user;

-- What hangs on the predecessor's tables and can't come along: it goes on reading, or acting on, the tables set aside.
insert into predecessor.quarantine (table_name, is_taken, reason)
select distinct format('%I.%I', n.nspname, v.relname), true, format('this view reads predecessor.%s: make it again', t.relname)
  from pg_class t
  join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and d.classid = 'pg_rewrite'::regclass
  join pg_rewrite w on w.oid = d.objid
  join pg_class v on v.oid = w.ev_class and v.oid <> t.oid
  join pg_namespace n on n.oid = v.relnamespace
 where t.relnamespace = 'predecessor'::regnamespace and n.nspname <> 'predecessor'
union all
select t.relname, true, format('its trigger %s isn''t on the store''s table: make it again if it is still wanted', g.tgname)
  from pg_class t
  join pg_trigger g on g.tgrelid = t.oid
 where t.relnamespace = 'predecessor'::regnamespace and not g.tgisinternal
   and g.tgname <> 'trigger_user_settings_updated_at'    -- the store sets updated_at itself
union all
select t.relname, true, format('%s could %s: the store''s roles are those of docs/security.md, grant it one', r.rolname,
                               string_agg(lower(a.privilege_type), ', ' order by a.privilege_type))
  from pg_class t
 cross join lateral aclexplode(t.relacl) a
  join pg_roles r on r.oid = a.grantee
 where t.relnamespace = 'predecessor'::regnamespace and t.relkind in ('r', 'p') and a.grantee <> t.relowner
 group by t.relname, r.rolname;
