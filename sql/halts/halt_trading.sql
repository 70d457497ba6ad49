-- Idempotent: where it is halted already, the first reason stays. A row, and one key in Redis, however many users there are.
-- Locks the user's row so that nobody erases it meanwhile (for key share: a change of the user isn't waited for), and the
-- version of the halts until the transaction ends: other halts wait for it, and nothing else does.
create or replace function halt_trading(p_reason text, p_identifier text default null, p_symbol text default null)
returns trading_halts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
    v_row  trading_halts;
begin
    if p_identifier is null then
        perform check_confinement(null);
    else
        loop
            v_user := _resolve_user(p_identifier);
            perform from app_users u where u.id = v_user.id for key share;
            exit when found;    -- else erased while we waited
        end loop;
    end if;
    loop
        insert into trading_halts (okx_uid, symbol, reason, halted_by)
        values (v_user.okx_uid, p_symbol, p_reason, coalesce(_writer_note('actor'), session_user))
            on conflict do nothing
        returning * into v_row;
        exit when found;
        select * into v_row from trading_halts h
         where coalesce(h.okx_uid, '') = coalesce(v_user.okx_uid, '') and coalesce(h.symbol, '') = coalesce(p_symbol, '')
           and h.resumed_at is null;
        exit when found;    -- else somebody resumed it at this moment
    end loop;
    return v_row;
exception
    when check_violation or not_null_violation then
        raise exception using errcode = 'US010',
            message = 'not a halt as there can be one',
            hint = 'A reason has 1-1000 characters, no control characters; a symbol capitals, digits and hyphens, as BTC-USDT-SWAP.';
end
$$;

comment on function halt_trading(text, text, text) is
'Halts trading: everybody''s, one user''s (p_identifier), that of one symbol, or one user''s of one symbol; and returns the row that is in force, which may be an earlier one. Bots ask store.halted(), or read one key of Redis (docs/halt.md); resume_trading() ends it. Example: select * from halt_trading(''the exchange is down''). Raises US004, US007, US010 (no reason, or no symbol), US012.';
select _allow('halt_trading', 'writer admin');
