SELECT queue_name, at_once, limited_since
FROM pgqueue.queue_limits
ORDER BY queue_name
