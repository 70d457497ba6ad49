alter table trigger_permits drop column number;
drop index mirror_pending_marked_by;
alter table mirror_pending drop column marked_by;
