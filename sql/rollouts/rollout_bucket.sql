-- By SHA-256, which every language has: int(sha256(f"{name}:{okx_uid}").hexdigest()[:8], 16) % 10000 in Python. Of another rollout a user
-- falls into another one. Touches no table.
create or replace function rollout_bucket(p_name text, p_okx_uid text)
returns integer
language sql immutable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select (('x' || left(encode(sha256(convert_to(p_name || ':' || p_okx_uid, 'UTF8')), 'hex'), 8))::bit(32)::bigint % 10000)::integer
$$;

comment on function rollout_bucket(text, text) is
'Which of the buckets 0 to 9999 of a rollout a user falls into: the first 8 hexadecimal digits of SHA-256 of NAME:OKX_UID, modulo 10000. A step of 5 percent has those below 500. Example: select rollout_bucket(''careful-first'', ''587662504768345929'').';
select _allow('rollout_bucket', 'reader writer relay admin');
