-- Whose keys hold in Redis what concerns everybody: named, guarded, marked and compared as a user's. Nobody's account: see
-- probe_okx_uid(). Touches no table; inlined.
create or replace function everybody_okx_uid()
returns text
language sql immutable
return '00000000000000000000';

comment on function everybody_okx_uid() is
'The OKX UID that stands for everybody in the name of a Redis key (the halts of trading), and that nobody can have.';
select _allow('everybody_okx_uid', 'admin');
