-- A confined session: of its user's keys. Raises US012. Reads by index, no lock.
create or replace function mirror_entries(p_owners text[])
returns setof mirror_source
language plpgsql stable
security definer
set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform confined_to();    -- raises, where the view would only be empty
    return query select * from mirror_source s where s.owner = any (p_owners);
end
$$;

comment on function mirror_entries(text[]) is
'What Redis should hold now in all keys of these owners (OKX UIDs, Telegram IDs); rows have the shape of the view mirror_source.';
select _allow('mirror_entries', 'reader writer relay admin');
