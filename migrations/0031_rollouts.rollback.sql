drop table rollout_results;
drop table rollout_users;
drop table rollouts;
