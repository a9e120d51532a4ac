-- Tells all workers to look at once what has been ordered.
SELECT pg_notify(%(channel)s, 'orders')
WHERE pg_notification_queue_usage() < 0.9
