-- What a Redis that is old, or somebody else's to write, must not bring back: earlier credentials, and who was erased.
-- depends: 0013_erasures

alter table okx_api_info drop constraint if exists okx_api_info_ciphertext;
alter table okx_api_info add constraint okx_api_info_ciphertext
    check (concat_ws(' ', api_key, api_secret, passphrase) ~ '^((v1\.[0-9a-f]{8}|v2\.[0-9a-f]{8}\.[1-9][0-9]{0,9}\.[A-Za-z0-9_-]{16})\.[A-Za-z0-9_-]+( |$))*$') not valid;
do $$
begin
    alter table okx_api_info validate constraint okx_api_info_ciphertext;
exception
    when check_violation then null;    -- plain text of an older system: keys encrypt-existing validates it
end
$$;

create table erased_people (
    digest bytea primary key
);

create table erasure_keys (
    is_only   boolean primary key default true,
    inner_key bytea not null,
    outer_key bytea not null,
    constraint erasure_keys_one_row check (is_only)
);

insert into erasure_keys (inner_key, outer_key)    -- 64 bytes each, what SHA-256 works on at a time
select string_agg(uuid_send(gen_random_uuid()), ''), string_agg(uuid_send(gen_random_uuid()), '') from generate_series(1, 4);

comment on table okx_api_info is 'Every version of every user''s API credentials, encrypted by the store (AES-256-GCM, bound to OKX UID, field, version and set). The active row is the newest; a change archives the old one. Written through save_api_credentials().';
comment on column okx_api_info.api_key is 'v2.<id of the encryption key>.<version>.<set>.<nonce, ciphertext, tag>; so are api_secret and passphrase. Release 1.0 wrote v1.<id of the key>.<nonce, ciphertext, tag>.';
comment on table erased_people is 'Who was erased and hasn''t been registered again, OKX UIDs and Telegram IDs: keyed digests (erasure_digest), so that what an old copy of Redis still has of them is known for that.';
comment on table erasure_keys is 'The secret of these digests, made at random by the migration. Whoever can read both tables can try out all numbers: nobody but the owner may.';
