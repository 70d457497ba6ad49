drop table mirror_pending;
