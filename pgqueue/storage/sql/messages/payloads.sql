-- The bytes of messages, wherever they are kept; of those that are longer than %(most_bytes)s none, which is NULL.
SELECT
    part.message_id::text AS key,
    CASE WHEN octet_length(part.payload) <= %(most_bytes)s::bigint THEN part.payload END AS payload
FROM unnest(%(keys)s::uuid[]) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT message_id, payload FROM pgqueue.messages WHERE message_id = wanted.key
    UNION ALL
    SELECT message_id, payload FROM pgqueue.parked WHERE message_id = wanted.key
    UNION ALL
    SELECT message_id, payload FROM pgqueue.scheduled WHERE message_id = wanted.key
    UNION ALL
    SELECT message_id, payload FROM pgqueue.dead_letters WHERE message_id = wanted.key
) AS part
