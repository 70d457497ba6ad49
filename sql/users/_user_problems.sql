-- No problem holds a value. Reads only.
create or replace function _user_problems(p_user jsonb)
returns jsonb
language sql stable
set search_path = pg_catalog, public, pg_temp
as $$
    select jsonb_object_agg(p.field, p.problem) from (
        select '$', 'must be an object' where jsonb_typeof(p_user) is distinct from 'object'
        union all
        select f.key, case
               when f.key not in ('okx_uid', 'telegram_id', 'name', 'telegram_username', 'settings') then 'is no field of a user'
               when f.key = 'settings' then case when jsonb_typeof(f.value) <> 'object' then 'must be an object of documents by setting type' end
               when f.key = 'okx_uid' then case when jsonb_typeof(f.value) <> 'string' or f.value #>> '{}' !~ '^[0-9]{16,20}$'
                                                then 'must be an OKX UID: a string of 16-20 digits'
                                                when f.value #>> '{}' = probe_okx_uid() then 'is that of the relay''s probe, which is no user'
                                                when f.value #>> '{}' = everybody_okx_uid() then 'stands for everybody' end
               when f.value = 'null' then null
               when jsonb_typeof(f.value) <> 'string' then 'must be a string or null'
               when f.key <> 'telegram_id' then case when length(f.value #>> '{}') > 200 then 'must have at most 200 characters' end
               when f.value #>> '{}' !~ '^[0-9]{5,15}$' then 'must be a Telegram ID: a string of 5-15 digits'
               when exists (select from app_users u where u.telegram_id = f.value #>> '{}' and u.deleted_at is null
                                                      and u.okx_uid <> p_user ->> 'okx_uid') then 'is linked to another user'
               end
          from jsonb_each(case when jsonb_typeof(p_user) = 'object' then jsonb_build_object('okx_uid', null) || p_user end) f
        ) as p (field, problem)
     where p.problem is not null
$$;

comment on function _user_problems(jsonb) is
'What is wrong with a user as export_users() writes one, {field: problem}; null if nothing. The settings are not looked into.';
select _allow('_user_problems', 'admin');
