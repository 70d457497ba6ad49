-- Gives a new user what the predecessor's service gave each: access to everything, in the columns for that which an adopted
-- app_users has, whatever their default. Called by ensure_user(), which has the row.
create or replace function _give_access(p_user app_users)
returns app_users
language plpgsql
set search_path = pg_catalog, public, pg_temp
as $$
declare
    v_user  app_users := p_user;
    v_given text;
begin
    select string_agg(format('%I = true', c.key), ', ') into v_given
      from jsonb_each_text(to_jsonb(p_user)) c
     where c.key in ('has_trading_access', 'has_analytics_access', 'has_realtime_access') and c.value is distinct from 'true';
    if v_given is not null then
        execute format('update public.app_users u set %s where u.id = $1 returning u.*', v_given) into v_user using p_user.id;
    end if;
    return v_user;
end
$$;

comment on function _give_access(app_users) is
'Gives a new user the access that the predecessor''s service gave, in the columns for that which an adopted app_users has. Returns the row.';
select _allow('_give_access', 'admin');
