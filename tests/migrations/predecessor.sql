-- The database of the system that this one replaces, as its users have it: no rules but the one unique index, which an
-- operator dropped, and other programs' columns and tables beside it.
create table app_users (
    id                    uuid primary key default gen_random_uuid(),
    email                 varchar(255) not null unique,
    name                  varchar(100),
    okx_uid               varchar(50),
    okx_linked            boolean default false,
    okx_api_connected     boolean not null default false,
    telegram_linked       boolean default false,
    telegram_id           varchar(20),
    telegram_userid       text,
    telegram_username     text,
    has_trading_access    boolean not null default true,
    has_analytics_access  boolean not null default true,
    has_realtime_access   boolean not null default true,
    is_active             boolean not null default true,
    created_at            timestamptz not null default now(),
    updated_at            timestamp not null default now(),
    deleted_at            timestamptz
);
create index app_users_access on app_users (has_trading_access, has_realtime_access);
create index app_users_telegram on app_users (telegram_id);

create table okx_api_info (
    id              uuid primary key default gen_random_uuid(),
    user_id         uuid not null references app_users (id) on delete cascade,
    api_key         text,
    api_secret      text,
    passphrase      text,
    telegram_id     text,
    telegram_linked boolean default false,
    okx_uid         text,
    okx_linked      boolean default false,
    exchange        text default 'okx',
    is_active       boolean not null default true,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    deleted_at      timestamptz
);

create table user_settings (
    id           uuid primary key default gen_random_uuid(),
    user_id      uuid not null constraint fk_user_settings_user references app_users (id) on delete cascade,
    okx_uid      text not null,
    telegram_id  text,
    setting_type text not null,
    settings     jsonb not null default '{}',
    version      integer not null default 1,
    is_active    boolean not null default true,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    deleted_at   timestamptz
);
create index idx_user_settings_user_id on user_settings (user_id) where deleted_at is null;
create index idx_user_settings_okx_uid on user_settings (okx_uid) where deleted_at is null;
create index idx_user_settings_telegram_id on user_settings (telegram_id) where deleted_at is null;
create index idx_user_settings_type on user_settings (user_id, setting_type) where deleted_at is null and is_active;
create index idx_user_settings_jsonb on user_settings using gin (settings);

create function update_user_settings_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;
create trigger trigger_user_settings_updated_at before update on user_settings
    for each row execute function update_user_settings_updated_at();

create function get_user_settings(p_identifier text, p_setting_type text default null)
returns table (id uuid, user_id uuid, okx_uid text, telegram_id text, setting_type text, settings jsonb,
               version integer, is_active boolean, created_at timestamptz, updated_at timestamptz)
language sql as $$
    select s.id, s.user_id, s.okx_uid, s.telegram_id, s.setting_type, s.settings, s.version, s.is_active, s.created_at, s.updated_at
      from user_settings s join app_users u on u.id = s.user_id
     where s.deleted_at is null and s.is_active and p_identifier in (u.okx_uid, s.telegram_id, u.telegram_id, u.id::text)
       and (p_setting_type is null or s.setting_type = p_setting_type)
     order by s.updated_at desc
$$;

create function upsert_user_settings(p_user_id uuid, p_okx_uid text, p_telegram_id text, p_type text, p_document jsonb)
returns uuid language plpgsql as $$
declare
    v_id uuid;
begin
    update user_settings s set settings = p_document, version = version + 1
     where s.user_id = p_user_id and s.setting_type = p_type and s.deleted_at is null and s.is_active returning s.id into v_id;
    if v_id is null then
        insert into user_settings (user_id, okx_uid, telegram_id, setting_type, settings)
        values (p_user_id, p_okx_uid, p_telegram_id, p_type, p_document) returning id into v_id;
    end if;
    return v_id;
end
$$;

create table payments (
    id      integer generated always as identity primary key,
    user_id uuid not null references app_users (id) on delete cascade,
    amount  numeric not null
);
