SELECT pg_notify(%(channel)s, '')
WHERE pg_notification_queue_usage() < 0.9
