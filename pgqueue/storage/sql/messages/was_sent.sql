-- How long ago the very message, byte for byte, was written for the last time, for a send whose answer was lost with its
-- connection: NULL if it never was. Written before that send began, it is of another send of the same id; with other
-- bytes it is a retry. By its age, for when the send began only the sender knows, by his clock.
-- One that is seen need not be durable: the server gives up waiting for its synchronous standby if the commit is
-- cancelled. So the answer is a commit itself, with a record for the log, which waits for all that lies before it.
WITH found AS MATERIALIZED (
    SELECT max(known.enqueued_at) AS enqueued_at
    FROM (
        SELECT message.enqueued_at
        FROM pgqueue.messages AS message
        WHERE message.message_id = %(key)s::uuid AND message.payload = ANY(%(payloads)s::bytea[])
        UNION ALL
        SELECT message.enqueued_at
        FROM pgqueue.scheduled AS message
        WHERE message.message_id = %(key)s::uuid AND message.payload = ANY(%(payloads)s::bytea[])
    ) AS known
)
SELECT
    CASE
        WHEN enqueued_at IS NOT NULL AND pg_logical_emit_message(true, 'pgqueue', '') IS NOT NULL
        THEN extract(epoch FROM clock_timestamp() - enqueued_at)::double precision
    END AS age_s
FROM found
