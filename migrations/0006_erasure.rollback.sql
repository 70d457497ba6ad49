alter table telegram_links drop column last_okx_uid;
alter table mirror_pending drop column erased, drop column discards;
