-- Percentile bootstrap of the difference of two ratio estimates (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). What
-- is drawn are clusters, as trades of one user go together (Davison and Hinkley, Bootstrap Methods and their Application, 1997, 3.8), by
-- weights that are Poisson with mean 1 (Chamandy et al., Estimating Uncertainty for Massive Data Streams, 2012). Draws are hashes of the seed:
-- the same for the same arguments, and no session's random numbers move on. With few clusters the percentiles are too near: they are
-- stretched as a t-quantile beside a normal one (Hesterberg, What Teachers Should Know About the Bootstrap, 2015; the normal quantile by
-- Abramowitz and Stegun 26.2.23, the other by the first term of Cornish and Fisher). Touches no table.
create or replace function _bootstrap_difference(
    p_seed            bigint,
    p_treated         double precision[],
    p_treated_weights double precision[],
    p_control         double precision[],
    p_control_weights double precision[],
    p_alpha           double precision,
    out difference    double precision,
    out lower         double precision,
    out upper         double precision
)
language sql immutable
set search_path = pg_catalog, public, pg_temp
as $$
    with cluster as materialized (
        select t.amount, t.weight, null::double precision as control_amount, null::double precision as control_weight,
               hashint8extended(t.number, p_seed) as seed
          from unnest(p_treated, p_treated_weights) with ordinality t (amount, weight, number)
        union all
        select null, null, c.amount, c.weight, hashint8extended(-c.number, p_seed)
          from unnest(p_control, p_control_weights) with ordinality c (amount, weight, number)
    ), drawn as (
        select g.resample, c.amount, c.weight, c.control_amount, c.control_weight,
               -- The cumulative probabilities of 0, 1, 2, … times 2^32.
               width_bucket(hashint4extended(g.resample, c.seed) & 4294967295,
                            '{1580030169,3160060337,3950075422,4213413783,4279248374,4292415292,4294609778,4294923276,4294962463}'::bigint[]) as times
          from generate_series(1, 2000) g (resample)
         cross join cluster c
        offset 0    -- else each hash is taken four times
    ), resampled as (
        select sum(d.times * d.amount) / nullif(sum(d.times * d.weight), 0)
               - sum(d.times * d.control_amount) / nullif(sum(d.times * d.control_weight), 0) as difference
          from drawn d
         group by d.resample
    ), estimate as (
        select sum(c.amount) / sum(c.weight) - sum(c.control_amount) / sum(c.control_weight) as difference,
               least(cardinality(p_treated), cardinality(p_control)) as clusters, sqrt(-2 * ln(p_alpha)) as root
          from cluster c
    ), quantile as (
        select e.*, e.root - (2.515517 + 0.802853 * e.root + 0.010328 * e.root ^ 2)
                             / (1 + 1.432788 * e.root + 0.189269 * e.root ^ 2 + 0.001308 * e.root ^ 3) as normal
          from estimate e
    ), stretch as (
        select q.difference, sqrt(q.clusters / (q.clusters - 1.0)::double precision) * (1 + (q.normal ^ 2 + 1) / (4 * (q.clusters - 1))) as factor
          from quantile q
    )
    select s.difference, s.difference + s.factor * (percentile_disc(p_alpha) within group (order by r.difference) - s.difference),
           s.difference + s.factor * (percentile_disc(1 - p_alpha) within group (order by r.difference) - s.difference)
      from resampled r
     cross join stretch s
     group by s.difference, s.factor
$$;

comment on function _bootstrap_difference(bigint, double precision[], double precision[], double precision[], double precision[], double precision) is
'Σ treated / Σ their weights - Σ control / Σ theirs, an element each per cluster, with the one-sided bounds above and below which it is but for a chance of p_alpha: a bootstrap of 2000 resamples, the same for the same seed. At least two clusters of each. Called by _look_at_rollout().';
select _allow('_bootstrap_difference', 'admin');
