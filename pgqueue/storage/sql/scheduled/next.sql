-- How long, in milliseconds, until the next message after the promoter's position is due; and which transactions are
-- undecided, for the promoter may be waiting for one. Nothing is written and no transaction id is drawn.
SELECT
    pg_current_snapshot()::text AS snapshot,
    (
        SELECT extract(epoch FROM due_at - clock_timestamp())::double precision * 1000
        FROM pgqueue.scheduled
        WHERE (due_at, id) > (%(after_due_at)s::timestamptz, %(after_id)s::bigint)
        ORDER BY due_at, id
        LIMIT 1
    ) AS wait_ms
