drop table trigger_permits;
drop table okx_api_info;
