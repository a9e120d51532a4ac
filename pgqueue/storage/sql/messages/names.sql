-- What messages are called that workers hold, by their ids.
SELECT DISTINCT ON (message.id)
    message.id, coalesce(message.foreign_id, message.message_id::text) AS message_id, message.actor_name,
    lane.queue_name
FROM pgqueue.messages AS message
JOIN pgqueue.lanes AS lane ON lane.id = message.lane
WHERE message.id = ANY (%(ids)s::bigint[])
