-- Rollouts: a template given to users share by share, with a control group, and what each look at the results found.
-- depends: 0025_epochs 0027_descriptions_and_rules

create table rollouts (
    name           text primary key,
    template       text not null,
    setting_type   text not null references setting_types,
    settings       jsonb not null,
    filter         jsonb not null,
    steps          numeric[] not null,
    control        numeric not null,
    minimum_trades integer not null,
    step_time      interval,
    guard          text not null,
    currency       text,
    on_worse       text not null,
    reason         text,
    state          text not null default 'running',
    outcome        text,
    step           integer not null default 1,
    given_at       timestamptz,
    next_look_at   timestamptz,
    treated_trades bigint not null default 0,
    control_trades bigint not null default 0,
    note           text,
    begun_at       timestamptz not null default clock_timestamp(),
    ended_at       timestamptz,
    changed_by     text not null,
    written_by     text not null default session_user,
    constraint rollouts_name check (name ~ '^[^[:space:][:cntrl:]]{1,64}$'),
    constraint rollouts_guard check (guard in ('net_per_trade', 'win_rate', 'drawdown')),
    constraint rollouts_on_worse check (on_worse in ('pause', 'roll_back')),
    constraint rollouts_state check (state in ('running', 'paused', 'ending', 'ended')),
    constraint rollouts_outcome check (outcome in ('keep', 'everybody', 'roll_back') and state in ('ending', 'ended') or outcome is null and state in ('running', 'paused')),
    constraint rollouts_step check (step between 1 and cardinality(steps))
);
comment on table rollouts is 'Templates that are given to users step by step, while their results are compared with those of a control group. Written by begin_rollout(), advance_rollout(), pause_rollout(), resume_rollout(), end_rollout() and watch_rollouts().';
comment on column rollouts.template is 'The template''s name at the begin; it may be another one by now.';
comment on column rollouts.settings is 'A copy of the template, made at the begin: what users get.';
comment on column rollouts.steps is 'Percent of the users who have it after each step; rising.';
comment on column rollouts.control is 'Percent of the users who don''t get it before the end, not at the last step either.';
comment on column rollouts.minimum_trades is 'Closed trades that both groups need in a step before its first look.';
comment on column rollouts.step_time is 'After which a step advances by itself; null: by hand only.';
comment on column rollouts.guard is 'By which figure the groups are compared: net_per_trade, win_rate or drawdown.';
comment on column rollouts.currency is 'Of the trades that are compared; null: those whose currency isn''t known.';
comment on column rollouts.state is 'running; paused: by hand or by the guard; ending: until all users have what the outcome says; ended.';
comment on column rollouts.outcome is 'How it ends: keep (who has it keeps it), everybody (the control group gets it, too), roll_back.';
comment on column rollouts.step is 'Which of the steps it is at, from 1.';
comment on column rollouts.given_at is 'When the users of this step had it: trades entered since then are compared; null: they are getting it.';
comment on column rollouts.treated_trades is 'Closed trades of this step that were counted last, of those who have it; control_trades: of those who don''t.';
comment on column rollouts.note is 'Why it is paused, or what watch_rollouts() stumbled over last.';
comment on column rollouts.changed_by is 'Who began it, or decided last how it goes on, as the writer said; written_by: the login.';

-- Who it is about, as found at the begin. Gone with the person.
create table rollout_users (
    rollout       text not null references rollouts on delete cascade,
    user_id       uuid not null references app_users on delete cascade,
    okx_uid       text not null,
    bucket        integer not null,
    version       integer,
    before        jsonb,
    after         jsonb,
    given_at      timestamptz,
    taken_back_at timestamptz,
    kept          text[],
    problem       text,
    primary key (rollout, user_id)
);
create index rollout_users_waiting on rollout_users (rollout, bucket) where version is null and problem is null;
create index rollout_users_given on rollout_users (rollout, user_id) where version is not null and taken_back_at is null;
create index rollout_users_user on rollout_users (user_id);
comment on table rollout_users is 'The users of a rollout: which bucket they fall into, and what each had before.';
comment on column rollout_users.bucket is 'rollout_bucket(rollout, okx_uid), 0 to 9999: below 100 times the percent of a step, the user is in it.';
comment on column rollout_users.version is 'The version of the document that the rollout made; null: none.';
comment on column rollout_users.before is 'What the keys that it changed were; a key that wasn''t there isn''t here.';
comment on column rollout_users.after is 'What the rollout made of them.';
comment on column rollout_users.kept is 'Keys that weren''t taken back, as they were changed again since.';
comment on column rollout_users.problem is 'Why the user was skipped; null: not.';

create table rollout_results (
    rollout        text not null references rollouts on delete cascade,
    step           integer not null,
    look           integer not null,
    looked_at      timestamptz not null default clock_timestamp(),
    since          timestamptz not null,
    treated_users  bigint not null,
    treated_trades bigint not null,
    treated_mean   double precision not null,
    control_users  bigint not null,
    control_trades bigint not null,
    control_mean   double precision not null,
    difference     double precision not null,
    lower          double precision not null,
    upper          double precision not null,
    alpha          double precision not null,
    verdict        text not null,
    primary key (rollout, step, look),
    constraint rollout_results_verdict check (verdict in ('worse', 'better', 'open'))
);
comment on table rollout_results is 'What each look at a rollout found: figures of the users who have it (treated) and of those who don''t (control), and whether they differ beyond chance.';
comment on column rollout_results.look is 'Which look of its step, from 1; at most 6, each at twice the trades of the one before.';
comment on column rollout_results.since is 'Trades entered from then on, and closed before looked_at.';
comment on column rollout_results.treated_mean is 'The net PnL of a trade, the share of wins or a user''s deepest drawdown, on average, as the rollout''s guard says.';
comment on column rollout_results.difference is 'treated_mean - control_mean.';
comment on column rollout_results.lower is 'Above which the difference is, by the bootstrap, but for a chance of alpha; upper: below which.';
comment on column rollout_results.alpha is 'One-sided: 5 % over all looks that the rollout may have.';
comment on column rollout_results.verdict is 'worse, better, or open: the interval holds 0.';
