-- Where it is told what an adoption couldn't take.
set local timezone = 'UTC';    -- times without a zone are UTC

create table if not exists predecessor.quarantine (
    table_name text not null,
    id         text,
    is_taken   boolean not null,
    reason     text not null,
    row_data   jsonb
);
comment on table predecessor.quarantine is 'What `migrate` couldn''t take over of the tables beside it, row by row, and why. is_taken: the row was taken, but for what the reason says. Keys of the exchange are left out of row_data.';
