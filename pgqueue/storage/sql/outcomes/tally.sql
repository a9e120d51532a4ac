-- The finished messages of a queue: recorded ends, messages they belong to, failures, and those that were running in
-- a worker that was lost. Reads them all; for reports, not for a live queue.
SELECT
    count(*) AS outcomes,
    count(DISTINCT message_id) AS messages,
    count(*) FILTER (WHERE status = 'f') AS failed,
    count(*) FILTER (WHERE attempts > 0) AS rerun
FROM pgqueue.outcomes
WHERE lane IN (SELECT id FROM pgqueue.lanes WHERE queue_name = %(queue_name)s)
