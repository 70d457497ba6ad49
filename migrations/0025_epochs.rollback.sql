drop table mirror_epochs;
