-- Scheduled messages that should have become ready a while ago, up to a number, and for how long the first has waited.
-- statement_timestamp(), as it is stable: a comparison with clock_timestamp() could not be looked up in the index.
SELECT
    count(*)::integer AS overdue,
    extract(epoch FROM clock_timestamp() - min(due_at))::double precision AS longest_s
FROM (
    SELECT due_at
    FROM pgqueue.scheduled
    WHERE due_at < statement_timestamp() - %(grace_s)s * interval '1 second'
    ORDER BY due_at
    LIMIT %(most)s
) AS part
