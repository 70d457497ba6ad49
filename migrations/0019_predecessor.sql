-- What an adopted database holds beside, for old code that goes on working there: rotated credentials bear the time of their
-- end in deleted_at, as the older schema has it, and a row of version 0 stands for who has none.
-- depends: 0018_rights

alter table okx_api_info drop constraint okx_api_info_version_positive;
alter table okx_api_info drop constraint okx_api_info_complete;
alter table okx_api_info add constraint okx_api_info_complete
    check (case when version = 0 then not is_active and num_nulls(api_key, api_secret, passphrase) = 3
                when is_active then version > 0 and num_nulls(api_key, api_secret, passphrase) = case when deleted_at is null then 0 else 3 end
                else version > 0 and (num_nulls(api_key, api_secret, passphrase) = 0
                                      or num_nulls(api_key, api_secret, passphrase) = 3 and deleted_at is not null) end);
comment on column okx_api_info.deleted_at is 'Set on a version that is a deletion; it has no credentials. In an adopted database an archived version with credentials has it, too: when it was replaced.';
comment on column okx_api_info.version is 'Counts from 1 per user. 0, in an adopted database only: the row that old code finds of who has no credentials.';

-- It has a third parameter now.
drop function if exists get_user_settings(text, text);

-- Of a database that an earlier release adopted: who has no Telegram ID is nobody's duplicate by it, and rows that nobody changed
-- since are known (sql/predecessor/adoption/: quarantine.sql, taken.sql; the rest is old_code.sql's).
do $$
begin
    if to_regclass('predecessor.quarantine') is null or to_regclass('predecessor.app_users') is null then
        return;
    end if;
    delete from predecessor.quarantine q
     where q.table_name = 'app_users' and q.is_taken and q.reason like 'its Telegram ID is that of another user%'
       and coalesce(nullif(btrim(q.row_data ->> 'telegram_id'), ''), nullif(btrim(q.row_data ->> 'telegram_userid'), '')) is null;

    create table predecessor.sealed (
        is_sealed boolean primary key default true,
        since     timestamptz not null default now()
    );
    insert into predecessor.sealed
    select where not exists (select from okx_api_info c where c.api_key is not null and c.api_key !~ '^v[12]\.[0-9a-f]{8}\.');

    create table predecessor.taken (
        table_name text not null,
        id         uuid not null,
        row_data   jsonb not null,
        primary key (table_name, id)
    );
    insert into predecessor.taken (table_name, id, row_data)
    select 'app_users', u.id, to_jsonb(u)
      from app_users u
      join predecessor.app_users p on p.id = u.id and u.version = 1 and u.updated_at = coalesce((to_jsonb(p) ->> 'updated_at')::timestamptz, u.updated_at)
    union all
    select 'user_settings', s.id, to_jsonb(s) - 'settings' from user_settings s where (s.changed_by, s.change_reason) = ('predecessor', 'adopted')
       and (s.deleted_at is not null or exists (select from predecessor.user_settings p where p.id = s.id))
    union all
    select 'okx_api_info', c.id, to_jsonb(c) - '{api_key,api_secret,passphrase}'::text[] - case when c.is_active then '' else 'deleted_at' end
      from okx_api_info c
     where (c.changed_by, c.change_reason) = ('predecessor', 'adopted')
       and (c.api_key is null or exists (select from predecessor.okx_api_info p where p.id = c.id));
end
$$;
