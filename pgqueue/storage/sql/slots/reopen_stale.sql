-- A producer that read the register just before a rotation may have written into a slot that was emptied since:
-- such a slot is closing again.
UPDATE pgqueue.slots
SET state = 'closing', changed_at = now(), turn = (SELECT min(turn) FROM pgqueue.slots AS other WHERE other.state = 'open')
WHERE state = 'free' AND slot = %(slot)s AND EXISTS (SELECT FROM pgqueue.ready_0)
