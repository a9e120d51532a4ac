-- Requests that somebody should look after: open ones that nobody has carried out at once, refusals that nobody fetched.
SELECT message_id::text AS key, state
FROM pgqueue.cancellations
WHERE requested_at < now() - %(older_s)s * interval '1 second'
ORDER BY requested_at
LIMIT 100
