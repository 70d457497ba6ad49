-- Whose documents the relay's probe writes and reads (write_probe). Nobody's account: no exchange gives a UID of leading zeros. Whatever
-- goes over users leaves it out (tests/sql/access/test_probe.py); what keeps Redis equal doesn't. Touches no table; inlined.
create or replace function probe_okx_uid()
returns text
language sql immutable
return '00000000000000000001';

comment on function probe_okx_uid() is
'The OKX UID of the relay''s probe, which is no user: in no list, statistic, export or backup. Example: select count(*) from app_users where okx_uid <> probe_okx_uid().';
select _allow('probe_okx_uid', 'admin');
