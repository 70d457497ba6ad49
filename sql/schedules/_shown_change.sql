-- Reads only.
create or replace function _shown_change(p_change scheduled_changes)
returns scheduled_changes
language plpgsql stable
set search_path = pg_catalog, public, pg_temp
as $$
begin
    p_change.patch := _mask_secrets(p_change.setting_type, p_change.patch);
    p_change.filter := _mask_secrets(p_change.setting_type, p_change.filter);
    return p_change;
end
$$;

comment on function _shown_change(scheduled_changes) is
'A scheduled change as it may be shown: with the secrets of its documents masked.';
select _allow('_shown_change', 'admin');
