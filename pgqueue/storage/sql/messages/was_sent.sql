-- Whether a send whose answer was lost with its connection was committed: the very message, byte for byte, written since
-- it began. An older one of the same id is another send, one with other bytes a retry.
WITH present AS MATERIALIZED (
    SELECT clock_timestamp() - %(within_s)s::double precision * interval '1 second' AS began
)
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
