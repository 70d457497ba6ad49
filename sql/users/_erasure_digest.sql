-- SHA-256 over SHA-256, each begun with a secret block of its own (NMAC, which HMAC makes of one key; so it takes no more than
-- PostgreSQL has). Called by the functions of erasures only.
create or replace function _erasure_digest(p_owner text)
returns bytea
language sql stable
security definer    -- only the owner reads the secret
set search_path = pg_catalog, public, pg_temp
return (select sha256(k.outer_key || sha256(k.inner_key || convert_to(p_owner, 'utf8'))) from erasure_keys k);

comment on function _erasure_digest(text) is
'The keyed digest by which an erased OKX UID or Telegram ID is remembered.';
select _allow('_erasure_digest', 'admin');
