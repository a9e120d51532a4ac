-- Ready messages of one lane, first in line first.
SELECT
    part.xid, part.id, message.message_id::text AS message_id, message.foreign_id, message.actor_name,
    message.attempts::integer AS attempts, message.enqueued_at
FROM (
    SELECT slot, xid, id
    FROM pgqueue.ready
    WHERE lane = %(lane)s AND (xid, id) > (%(after_xid)s, %(after_id)s)
    ORDER BY xid, id
    LIMIT %(limit)s
) AS part
JOIN pgqueue.messages AS message ON message.slot = part.slot AND message.id = part.id
ORDER BY part.xid, part.id
