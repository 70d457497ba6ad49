-- The store's rows as they are now, right after an adoption, columns for old code included.
insert into predecessor.taken (table_name, id, row_data)
select 'app_users', u.id, to_jsonb(u) from public.app_users u
union all
select 'user_settings', s.id, to_jsonb(s) - 'settings' from public.user_settings s
union all
select 'okx_api_info', c.id, to_jsonb(c) - '{api_key,api_secret,passphrase}'::text[] from public.okx_api_info c;
