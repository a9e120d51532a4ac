-- Ready messages of one lane, first in line first. Each is looked up by itself (OFFSET keeps the subquery apart): without
-- statistics PostgreSQL 15 would rather merge a page with all messages.
SELECT
    part.xid, part.id, message.message_id::text AS message_id, message.foreign_id, message.actor_name,
    message.attempts::integer AS attempts, message.enqueued_at, message.found
FROM (
    SELECT slot, xid, id
    FROM pgqueue.ready
    WHERE lane = %(lane)s AND (xid, id) > (%(after_xid)s, %(after_id)s)
    ORDER BY xid, id
    LIMIT %(limit)s
) AS part
CROSS JOIN LATERAL (
    SELECT
        message_id, foreign_id, actor_name, attempts, enqueued_at,
        CASE
            WHEN cardinality(%(needles)s::text[]) = 0 THEN true
            ELSE EXISTS (
                SELECT
                FROM unnest(%(needles)s::text[]) AS needle (text)
                WHERE strpos(lower(encode(substr(payload, 1, %(most_bytes)s), 'escape') COLLATE "C"), needle.text) > 0
            )
        END AS found
    FROM pgqueue.messages
    WHERE slot = part.slot AND id = part.id
    OFFSET 0
) AS message
ORDER BY part.xid, part.id
