-- Of that scope only: a user stays halted by a halt of everybody. A deleted user's, too. Idempotent. Locks the row, then the
-- version of the halts.
create or replace function resume_trading(p_reason text, p_identifier text default null, p_symbol text default null)
returns setof trading_halts
language plpgsql
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user app_users;
begin
    if p_identifier is null then
        perform check_confinement(null);
    else
        v_user := _resolve_user(p_identifier, true);
    end if;
    if p_reason is null then
        raise exception using errcode = 'US010', message = 'why trading goes on is to be said';
    end if;
    return query
    update trading_halts h
       set resumed_at = greatest(clock_timestamp(), h.halted_at), resumed_by = coalesce(_writer_note('actor'), session_user),
           resume_reason = p_reason, resume_written_by = session_user
     where coalesce(h.okx_uid, '') = coalesce(v_user.okx_uid, '') and coalesce(h.symbol, '') = coalesce(p_symbol, '')
       and h.resumed_at is null
    returning h.*;
exception
    when check_violation then
        raise exception using errcode = 'US010',
            message = 'a reason has 1-1000 characters, no control characters';
end
$$;

comment on function resume_trading(text, text, text) is
'Ends the halt of exactly this scope, as halt_trading() has it, and returns its row; no row if there is none. Example: select * from resume_trading(''the exchange is back''). Raises US004, US007, US010 (no reason), US012.';
select _allow('resume_trading', 'writer admin');
