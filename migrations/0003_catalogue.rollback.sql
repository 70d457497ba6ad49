delete from setting_fields where setting_type in ('preferences', 'params', 'dual_side');
