-- Scheduled messages that should have become ready a while ago, up to a number, and for how long the first has waited.
SELECT
    count(*)::integer AS overdue,
    extract(epoch FROM clock_timestamp() - min(due_at))::double precision AS longest_s
FROM (
    SELECT due_at
    FROM pgqueue.scheduled
    WHERE due_at < clock_timestamp() - %(grace_s)s * interval '1 second'
    ORDER BY due_at
    LIMIT %(most)s
) AS part
