-- The trades set aside, one by one, as record_trade() takes them: columns of the same name; the others go into extra, and
-- so do a currency and funding fees, whose signs nobody knows. A trade without an order that closed it is known by its id.
do $$
declare
    v_row     jsonb;
    v_trade   jsonb;
    v_problem text;
begin
    for v_row in select to_jsonb(t) from predecessor.trades t loop
        select jsonb_build_object('exit_order_id', 'predecessor-' || (v_row ->> 'id'))
               || coalesce(jsonb_object_agg(e.key, case when e.key in ('entry_time', 'exit_time')
                                                        then to_jsonb((e.value #>> '{}')::timestamptz) else e.value end)
                           filter (where a.attname is not null), '{}')
               || jsonb_build_object('extra', coalesce(jsonb_object_agg(e.key, e.value) filter (where a.attname is null), '{}'))
          into v_trade
          from jsonb_each(v_row) e
          left join pg_attribute a on a.attrelid = 'public.trades'::regclass and a.attname = e.key and a.attgenerated = ''
                                  and a.attname not in ('id', 'user_id', 'created_at', 'extra', 'funding_fee', 'currency')
         where e.value <> 'null';
        begin
            perform record_trade(coalesce(v_row ->> 'okx_uid', v_row ->> 'user_id'), v_trade - 'okx_uid');
        exception when others then
            get stacked diagnostics v_problem = pg_exception_detail;
            insert into predecessor.quarantine
            values ('trades', v_row ->> 'id', false, 'not a trade as it can be recorded: ' || coalesce(nullif(v_problem, ''), sqlerrm), v_row);
        end;
    end loop;
end
$$;
