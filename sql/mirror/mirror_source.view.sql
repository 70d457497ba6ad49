-- What Redis should hold: one row a key, with the version that guards it. The only definition of it:
-- relay, repair, verify and rebuild all read this.
--   owner     the identifier in the key         kind      the field of the owner's mirror hash: of settings their name
--   (dual_side, dual_side:BTC-USDT-SWAP); dual_side:* stands for all symbols, of an erased person
--   suffix    the rest of the key               encoding  how the document is laid out in Redis
--   (everybody_okx_uid(), which is called as little: the halts of trading, one key)
--   document  null: the key must not exist (deleted, unlinked, erased)
-- Every branch names its columns: a dump would write names of its own, and `status` take them for a change.
-- A confined session (settings_store.okx_uid) sees the keys of its user, as confined_owners() has it: not called here, as
-- functions are made after views. A barrier: no function of a reader's own in WHERE sees another user's row before that.
create or replace view mirror_source with (security_barrier) as
select e.owner, e.kind, e.suffix, e.encoding, e.version, e.updated_at, e.document from (
    select s.okx_uid as owner, s.setting_type as kind,
           case when s.setting_type = t.setting_type then t.redis_suffix
                else concat('symbol:', split_part(s.setting_type, ':', 2), ':', t.redis_suffix) end as suffix,
           t.redis_encoding as encoding, s.version, s.updated_at, case when s.deleted_at is null then s.settings end as document
      from user_settings s
      join setting_types t on t.setting_type = split_part(s.setting_type, ':', 1)
     where s.is_active
    union all
    select c.okx_uid as owner, 'api_keys' as kind, 'api:keys' as suffix, 'credentials' as encoding, c.version, c.updated_at,
           case when c.deleted_at is null
                then jsonb_build_object('api_key', c.api_key, 'api_secret', c.api_secret, 'passphrase', c.passphrase) end as document
      from okx_api_info c
     where c.is_active
    union all
    select u.okx_uid as owner, 'user' as kind, 'mirror' as suffix, 'fields' as encoding,
           u.version, u.updated_at,
           case when u.deleted_at is null then jsonb_build_object('telegram_id', u.telegram_id) end as document
      from app_users u
    union all
    select l.telegram_id as owner, 'telegram' as kind, 'okx_uid' as suffix, 'string' as encoding,
           l.version, l.updated_at, to_jsonb(l.okx_uid) as document
      from telegram_links l
    union all
    select '00000000000000000000' as owner, 'halts' as kind, 'halts' as suffix, 'halts' as encoding, v.version, v.updated_at,
           (select coalesce(jsonb_agg(jsonb_build_object(
                       'okx_uid', h.okx_uid, 'symbol', h.symbol, 'reason', h.reason,
                       'since', to_char(h.halted_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
                       order by h.halted_at, h.id), '[]')
              from trading_halts h where h.resumed_at is null) as document
      from halts_version v
    union all
    select p.owner, p.kind, case p.kind when 'user' then 'mirror' when 'telegram' then 'okx_uid' when 'api_keys' then 'api:keys'
                       when t.setting_type then t.redis_suffix
                       else 'symbol:' || split_part(p.kind, ':', 2) || ':' || t.redis_suffix end as suffix, 'erased' as encoding,
           p.version, p.marked_at as updated_at, null::jsonb as document
      from mirror_pending p
      left join setting_types t on t.setting_type = split_part(p.kind, ':', 1)
     where p.erased) e
 where (select coalesce(current_setting('settings_store.okx_uid', true), '') = '')
    or e.owner = any (array(select substring(current_setting('settings_store.okx_uid', true) from '^[0-9]{16,20}$')
                            union all
                            select l.telegram_id from telegram_links l
                             where l.last_okx_uid = current_setting('settings_store.okx_uid', true)));

comment on view mirror_source is
'What Redis should hold, one row a key: owner and suffix make the key, version guards it, document is its content (null: the key must not exist).';
