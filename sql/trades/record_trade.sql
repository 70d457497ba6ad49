-- See _keep_trades(). US010 also: recorded with other data; recorded once, and dropped since by a retention policy.
-- Locks the user (for share).
create or replace function record_trade(p_identifier text, p_trade jsonb)
returns trades
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
set plan_cache_mode = force_custom_plan    -- TimescaleDB leaves out chunks by constants only
as $$
declare
    v_user  app_users := _lock_user(p_identifier);
    v_order trade_orders;
    v_row   trades;
begin
    if jsonb_typeof(p_trade) = 'object' then
        if p_trade ->> 'okx_uid' <> v_user.okx_uid then
            raise exception using errcode = 'US010', message = 'not a trade as it can be recorded',
                detail = '{"okx_uid": "is not that of the user"}';
        end if;
        p_trade := p_trade || jsonb_build_object('okx_uid', v_user.okx_uid);
    end if;
    perform _keep_trades(jsonb_build_array(p_trade), false);
    select * into v_order from trade_orders o where o.user_id = v_user.id and o.exit_order_id = p_trade ->> 'exit_order_id';
    select * into v_row from trades t where t.id = v_order.trade_id and t.exit_time = v_order.exit_time;
    if not found then
        raise exception using errcode = 'US010', message = 'this trade was recorded once, and dropped by a retention policy';
    end if;
    return v_row;
end
$$;

comment on function record_trade(text, jsonb) is
'Records a closed trade, once per exit_order_id, with the settings'' versions in force at entry; returns its row. \d+ trades says what is paid and received. Again, it changes nothing, but records a funding_fee and a currency that weren''t known. A row of get_trades() will do as JSON, too. Example: select net_pnl from record_trade(''587662504768345929'', ''{"symbol": "BTC-USDT-SWAP", "side": "long", "entry_time": "2026-11-22T10:00:00Z", "entry_price": "97000.1", "entry_size": 1, "exit_time": "2026-11-22T11:00:00Z", "exit_price": 97500, "exit_size": 1, "exit_fee": 0.4, "realized_pnl": 4.999, "exit_order_id": "42"}''). Raises US004, US007, US010 (detail: every bad key and why).';
select _allow('record_trade', 'writer admin');
