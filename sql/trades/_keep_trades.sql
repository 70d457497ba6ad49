-- p_trades: an array of objects of the columns of trades, each with the okx_uid of a live user. A column that isn't given, or
-- null, is what the table has by default; a version of the settings that isn't, the one in force at entry_time.
-- The order that closed the trade makes it unique (trade_orders): a repeat with the same data changes nothing, one with other
-- data raises US010, as does any problem: the detail is {key: why}, with p_is_bulk {index.key: why}, at most 20 of them. A
-- funding_fee or currency that wasn't known is recorded then, and no difference where it isn't given. Of a trade whose row a
-- retention policy has dropped, the order is all that is compared.
-- Raises US012 in a session confined to another user than all of these. Locks the users (for share) in the order of
-- their OKX UIDs, then the orders in theirs, then the trades to complete: who records the same order at once waits, and finds it
-- known.
create or replace function _keep_trades(p_trades jsonb, p_is_bulk boolean)
returns table (recorded bigint, known bigint)
language plpgsql
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan    -- TimescaleDB leaves out chunks by constants only
as $$
declare
    v_trades   trades[];
    v_problems jsonb;
    v_first    timestamptz;    -- exits of what is known
    v_last     timestamptz;
begin
    if jsonb_typeof(p_trades) is distinct from 'array' then
        raise exception using errcode = 'US010', message = 'not a list of trades', detail = '{"$": "must be an array of trades"}';
    end if;
    perform check_confinement(i ->> 'okx_uid') from jsonb_array_elements(p_trades) i where confined_to() is not null;
    perform from app_users u
      where u.deleted_at is null and u.okx_uid in (select i ->> 'okx_uid' from jsonb_array_elements(p_trades) i)
      order by u.okx_uid for share;

    select jsonb_object_agg(case when p_is_bulk then p.ordinality - 1 || '.' else '' end || p.key, p.value) into v_problems
      from (select i.ordinality, q.key, q.value
              from jsonb_array_elements(p_trades) with ordinality i
              left join app_users u on u.okx_uid = i.value ->> 'okx_uid' and u.deleted_at is null
             cross join lateral jsonb_each(_trade_problems(u.id, i.value)) q
             limit 20) p;
    if v_problems is not null then
        raise exception using errcode = 'US010', message = 'not a trade as it can be recorded', detail = v_problems;
    end if;

    select array_agg(jsonb_populate_record(null::trades, d.defaults || g.given || d.ours) order by i.ordinality) into v_trades
      from jsonb_array_elements(p_trades) with ordinality i
      join app_users u on u.okx_uid = i.value ->> 'okx_uid'
     cross join lateral (select jsonb_object_agg(e.key, e.value) as given from jsonb_each(i.value) e where e.value <> 'null' and e.key <> 'net_pnl') g
     cross join lateral (select (g.given ->> 'entry_time')::timestamptz as entry_time) e
     cross join lateral (select
               jsonb_build_object('is_hedge', false, 'entry_fee', 0, 'exit_fee', 0, 'dca_count', 0, 'extra', '{}'::jsonb,
                                  'params_version', _setting_version_at(u.id, 'params', e.entry_time),
                                  'dual_side_version', case    -- of the user's own document: not where the symbol's was in force
                                      when _setting_version_at(u.id, _with_symbol('dual_side', g.given ->> 'symbol'), e.entry_time) is null
                                      then _setting_version_at(u.id, 'dual_side', e.entry_time) end) as defaults,
               jsonb_build_object('id', gen_random_uuid(), 'user_id', u.id, 'created_at', now()) as ours) d;

    insert into trade_orders (user_id, exit_order_id, trade_id, exit_time)
    select g.user_id, g.exit_order_id, g.id, g.exit_time from unnest(v_trades) g
     order by g.user_id, g.exit_order_id
        on conflict do nothing;

    insert into trades (id, user_id, okx_uid, symbol, side, is_hedge, entry_time, entry_price, entry_size, exit_time, exit_price,
                        exit_size, entry_fee, exit_fee, funding_fee, currency, realized_pnl, realized_pnl_percent, leverage, close_type, dca_count,
                        entry_order_id, exit_order_id, params_version, dual_side_version, extra, created_at)
    select g.id, g.user_id, g.okx_uid, g.symbol, g.side, g.is_hedge, g.entry_time, g.entry_price, g.entry_size, g.exit_time, g.exit_price,
           g.exit_size, g.entry_fee, g.exit_fee, g.funding_fee, g.currency, g.realized_pnl, g.realized_pnl_percent, g.leverage, g.close_type, g.dca_count,
           g.entry_order_id, g.exit_order_id, g.params_version, g.dual_side_version, g.extra, g.created_at
      from unnest(v_trades) g
      join trade_orders o on o.user_id = g.user_id and o.exit_order_id = g.exit_order_id and o.trade_id = g.id;
    get diagnostics recorded = row_count;
    known := coalesce(cardinality(v_trades), 0) - recorded;

    if known > 0 then
        select min(o.exit_time), max(o.exit_time) into v_first, v_last
          from unnest(v_trades) g
          join trade_orders o on o.user_id = g.user_id and o.exit_order_id = g.exit_order_id and o.trade_id <> g.id;
    end if;
    if known > 0 and exists (select from unnest(v_trades) g where g.funding_fee is not null or g.currency is not null) then
        insert into trigger_permits (permit) values ('completion');
        with incomplete as (
            select t.id, t.exit_time, g.funding_fee, g.currency
              from unnest(v_trades) g
              join trade_orders o on o.user_id = g.user_id and o.exit_order_id = g.exit_order_id and o.trade_id <> g.id
              join trades t on t.id = o.trade_id and t.exit_time = o.exit_time and t.exit_time between v_first and v_last
             where (t.funding_fee is null and g.funding_fee is not null) or (t.currency is null and g.currency is not null)
             order by g.user_id, g.exit_order_id for update of t
        )
        update trades t set funding_fee = coalesce(t.funding_fee, i.funding_fee), currency = coalesce(t.currency, i.currency)
          from incomplete i where t.id = i.id and t.exit_time = i.exit_time and t.exit_time between v_first and v_last;
        delete from trigger_permits p where p.permit = 'completion';
    end if;
    if known > 0 then    -- is what is known the same?
        select jsonb_object_agg(d.key, 'differs from what was recorded for this exit_order_id') into v_problems
          from (select case when p_is_bulk then g.ordinality - 1 || '.' else '' end || n.key
                  from unnest(v_trades) with ordinality g
                  join trade_orders o on o.user_id = g.user_id and o.exit_order_id = g.exit_order_id and o.trade_id <> g.id
                  join trades t on t.id = o.trade_id and t.exit_time = o.exit_time and t.exit_time between v_first and v_last
                 cross join lateral jsonb_each(to_jsonb(t)) w
                  join lateral jsonb_each(to_jsonb(g)) n on n.key = w.key and n.value <> w.value
                 where n.key not in ('id', 'created_at', 'net_pnl', 'ordinality')
                   and (n.key not in ('params_version', 'dual_side_version', 'funding_fee', 'currency')    -- or looked up: it may have been pruned since
                        or coalesce(p_trades -> (g.ordinality - 1)::integer -> n.key, 'null') <> 'null')
                 limit 20) as d (key);
        if v_problems is not null then
            raise exception using errcode = 'US010', message = 'a trade was recorded with other data', detail = v_problems,
                hint = 'One order of the exchange closes one trade, and a recorded trade never changes.';
        end if;
    end if;
    return next;
end
$$;

comment on function _keep_trades(jsonb, boolean) is
'Records trades, all or none; how many were recorded, and how many known already. Called by record_trade() and record_trades().';
select _allow('_keep_trades', 'admin');
