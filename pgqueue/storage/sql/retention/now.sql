SELECT extract(epoch FROM clock_timestamp())::bigint AS now_s
