DELETE FROM pgqueue.queue_limits
WHERE queue_name = %(queue_name)s
