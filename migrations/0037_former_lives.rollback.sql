drop function if exists clear_pending(text[], text[], integer[], boolean[], timestamptz[]);
drop function if exists clear_former_life(text, text[], integer[], timestamptz[]);
drop function if exists returned_owners(text[]);
drop function if exists _note_return(text);
delete from erased_people e where e.is_back;
alter table erased_people drop column is_back;
alter table erased_people drop column ended_at;
