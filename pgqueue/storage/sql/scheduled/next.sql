-- How long, in milliseconds, until the next message after the promoter's position is due.
SELECT extract(epoch FROM due_at - clock_timestamp())::double precision * 1000 AS wait_ms
FROM pgqueue.scheduled
WHERE (due_at, id) > (%(after_due_at)s::timestamptz, %(after_id)s::bigint)
ORDER BY due_at, id
LIMIT 1
