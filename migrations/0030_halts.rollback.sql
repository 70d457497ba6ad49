alter table app_users drop constraint app_users_is_somebody;
delete from mirror_pending where kind = 'halts';
drop table halts_version;
drop table trading_halts;
