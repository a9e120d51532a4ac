-- The message that is due next, or overdue, taken out of those that wait: for tests, which run messages where they are
-- sent.
DELETE FROM pgqueue.scheduled
WHERE id = (
    SELECT id
    FROM pgqueue.scheduled
    WHERE due_at <= clock_timestamp() OR %(early)s::boolean
    ORDER BY due_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
RETURNING payload
