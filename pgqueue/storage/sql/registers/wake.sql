SELECT pg_notify(%(channel)s, call.payload)
FROM unnest(%(payloads)s::text[]) AS call (payload)
WHERE pg_notification_queue_usage() < 0.9
