-- Leaves a request for whoever holds a message; a request that was refused before is made anew.
INSERT INTO pgqueue.cancellations (message_id)
VALUES (%(key)s::uuid)
ON CONFLICT (message_id) DO UPDATE
SET state = 'asked', requested_at = now()
WHERE cancellations.state = 'refused'
