-- A notification to oneself: it comes if this connection's notifications come at all.
SELECT pg_notify(%(channel)s, '')
WHERE pg_notification_queue_usage() < 0.9
