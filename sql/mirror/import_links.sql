-- Takes over Telegram links found in Redis.
--
-- p_items: [{"owner": Telegram ID, "version": that Redis was given (0: never by us), "okx_uid": whom Redis
-- leads to (null: nobody)}, …]. The outcome of each is ok, same, stale, missing, new, edited, conflict as in
-- import_documents(); conflict too if the user or the Telegram ID has another link in PostgreSQL that Redis
-- wasn't given. p_prefer 'redis' takes Redis's link then; with 'db' Redis is to lose a Telegram ID that PostgreSQL never
-- had. Nobody's Telegram ID leads to the probe: as with a deleted user, nothing is taken. Raises US012 in a confined session if any side of a link is another user's.
create or replace function import_links(
    p_items   jsonb,
    p_prefer  text default null,
    p_dry_run boolean default true
)
returns table (owner text, outcome text, seen integer)
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_item record;
    v_made text[] := '{}';    -- Telegram IDs of users made at once
begin
    if confined_to() is not null then
        perform check_confinement(o.okx_uid)
           from jsonb_to_recordset(p_items) as i (owner text, okx_uid text)
           left join telegram_links l on l.telegram_id = i.owner
          cross join lateral unnest(array[coalesce(i.okx_uid, confined_to()), coalesce(l.last_okx_uid, confined_to())]) as o (okx_uid);
    end if;
    if not p_dry_run then
        perform _check_erasures();
        -- Nobody knows either side: one statement for all. Whatever else there is, one by one below.
        with made as (
            insert into app_users (okx_uid, telegram_id)
            select i.okx_uid, i.owner
              from (select r.*, count(*) over (partition by r.okx_uid) as links
                      from jsonb_to_recordset(p_items) as r (owner text, okx_uid text)) i
             where i.links = 1 and i.okx_uid ~ '^[0-9]{16,20}$' and i.owner ~ '^[0-9]{5,15}$'
               and not exists (select from app_users u where u.okx_uid = i.okx_uid)
               and not exists (select from telegram_links l where l.telegram_id = i.owner)
               and not is_erased(i.owner) and not is_erased(i.okx_uid)
             order by i.okx_uid    -- the order of all who lock several users
                on conflict do nothing
            returning telegram_id
        )
        select coalesce(array_agg(m.telegram_id), '{}') into v_made from made m;
        perform from app_users u
          where u.okx_uid = any (array(select i.okx_uid from jsonb_to_recordset(p_items) as i (okx_uid text)))    -- both by index
             or u.deleted_at is null and u.telegram_id = any (array(select i.owner from jsonb_to_recordset(p_items) as i (owner text)))
          order by u.okx_uid for no key update;
    end if;
    for v_item in
        select i.owner, i.version, i.okx_uid, o.outcome
          from jsonb_to_recordset(p_items) as i (owner text, version integer, okx_uid text)
          left join telegram_links l on l.telegram_id = i.owner
          left join app_users u on u.okx_uid = i.okx_uid
         cross join lateral (select case
               when i.owner = any (v_made) then 'new'
               when l.version is null and i.okx_uid is null then 'ok'
               when i.okx_uid is not distinct from l.okx_uid then case when i.version = l.version then 'ok' else 'same' end
               when i.okx_uid is null then 'missing'
               when u.deleted_at is not null or i.okx_uid = probe_okx_uid() then 'deleted'
               when l.version is null and is_erased(i.owner) or is_erased(i.okx_uid) then 'deleted'
               when l.version is not null and i.version between 1 and l.version - 1 then 'stale'
               when u.telegram_id is not null or l.okx_uid is not null then
                    case when i.version = l.version then 'edited' else 'conflict' end
               when l.version is null then 'new'
               else 'edited' end as outcome) o
         order by i.owner
    loop
        if not p_dry_run and v_item.owner <> all (v_made)
           and (v_item.outcome in ('new', 'edited') or v_item.outcome = 'conflict' and p_prefer = 'redis') then
            update app_users u set telegram_id = null
             where u.telegram_id = v_item.owner and u.okx_uid <> v_item.okx_uid and u.deleted_at is null;
            perform ensure_user(v_item.okx_uid, v_item.owner);
        elsif not p_dry_run and v_item.outcome = 'conflict' and p_prefer = 'db' then
            perform _note_link(v_item.owner, v_item.okx_uid);
        end if;
        owner := v_item.owner;
        outcome := v_item.outcome;
        seen := v_item.version;
        return next;
    end loop;
end
$$;

comment on function import_links(jsonb, text, boolean) is
'Compares Telegram links found in Redis with PostgreSQL and takes over those that are new or were changed there. Used by sync.';
select _allow('import_links', 'writer admin');
