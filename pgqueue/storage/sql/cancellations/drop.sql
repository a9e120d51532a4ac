DELETE FROM pgqueue.cancellations
WHERE message_id = %(key)s::uuid
