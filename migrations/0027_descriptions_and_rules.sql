-- What each key of the catalogue is for, in words; and rules that several keys of a document keep together.
-- depends: 0022_integers

-- Without defaults, which newest PostgreSQL refuses beside _is_valid_value(), whose parsed body uses the table's row type.
alter table setting_fields add column description text, add column description_ko text,
    add constraint setting_fields_description check (greatest(length(description), length(description_ko)) <= 1000
                                                      and concat(description, description_ko) !~ '[[:cntrl:]]');
comment on column setting_fields.description is 'What the key is for, in English, with the unit; that of a key that is shipped comes with migrate, where there is none.';
comment on column setting_fields.description_ko is 'The same in Korean.';

create table setting_rules (
    setting_type text not null references setting_types on delete cascade,
    name         text not null,
    keys         text[] not null,
    rule         jsonpath not null,
    message      text not null,
    message_ko   text,
    primary key (setting_type, name),
    constraint setting_rules_name check (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    constraint setting_rules_keys check (cardinality(keys) > 0),
    constraint setting_rules_message check (least(length(message), length(message_ko)) > 0 and greatest(length(message), length(message_ko)) <= 500
                                                and concat(message, message_ko) !~ '[[:cntrl:]]')
);
comment on table setting_rules is 'What several keys of a document must keep to together, besides what setting_fields says of each. Changed by save_setting_rule().';
comment on column setting_rules.keys is 'The keys that the rule names.';
comment on column setting_rules.rule is 'True of a document that keeps to it.';
comment on column setting_rules.message is 'What the problem is called, in English: what is allowed, no value.';
comment on column setting_rules.message_ko is 'The same in Korean.';

-- They take or return more now.
drop function if exists save_setting_field(text, text, text, jsonb, numeric, numeric, text[], boolean, boolean);
drop function if exists list_setting_fields();
drop function if exists validate_user_setting(text, jsonb);
drop function if exists _check_settings(text, jsonb);
drop function if exists _take_settings(text, jsonb, jsonb, jsonb);
