UPDATE pgqueue.cancellations
SET state = %(state)s
WHERE message_id = %(key)s::uuid AND state = 'asked'
