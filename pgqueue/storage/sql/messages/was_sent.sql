-- Whether a send whose answer was lost with its connection was committed: the very message, byte for byte, written since
-- it began. An older one of the same id is another send, one with other bytes a retry.
-- One that is seen need not be durable: the server gives up waiting for its synchronous standby if the commit is
-- cancelled. So the answer yes is a commit itself, with a record for the log, which waits for all that lies before it.
WITH present AS MATERIALIZED (
    SELECT clock_timestamp() - %(within_s)s::double precision * interval '1 second' AS began
),
found AS MATERIALIZED (
    SELECT EXISTS (
        SELECT
        FROM present
        JOIN pgqueue.messages AS message ON message.enqueued_at >= present.began
        WHERE message.message_id = %(key)s::uuid AND message.payload = ANY(%(payloads)s::bytea[])
    ) OR EXISTS (
        SELECT
        FROM present
        JOIN pgqueue.scheduled AS message ON message.enqueued_at >= present.began
        WHERE message.message_id = %(key)s::uuid AND message.payload = ANY(%(payloads)s::bytea[])
    ) AS was_sent
)
SELECT CASE WHEN was_sent THEN pg_logical_emit_message(true, 'pgqueue', '') IS NOT NULL ELSE false END AS was_sent
FROM found
