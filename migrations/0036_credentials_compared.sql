-- depends: 0035_relay_listens

drop function if exists keep_losing_credentials(text, text, text, text);    -- it takes one more
