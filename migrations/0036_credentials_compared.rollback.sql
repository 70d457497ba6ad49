drop function if exists keep_losing_credentials(text, text, text, text, integer);
