-- Until when writers are to notify the relay. A sequence, as one row of a table that is written four times a second has dead
-- versions where somebody's old snapshot keeps them, through which each writer would walk; not logged, so that an idle relay
-- writes no WAL and takes no transaction's number.
-- depends: 0032_order_of_changes

create unlogged sequence relay_listens minvalue 0 start 0;
comment on sequence relay_listens is 'Until when a relay listens, in milliseconds since 1970; 0: none has. Written by await_marks(), read by whoever marks a key.';
