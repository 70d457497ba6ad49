-- How many people were erased: who reads Redis and then makes users of that can tell whether somebody went meanwhile.
-- depends: 0012_verifications
create sequence erasure_count;
comment on sequence erasure_count is 'Counts erasures, and knows nobody who was erased: see erasures().';
