drop table scheduled_change_users;
drop table scheduled_changes;
