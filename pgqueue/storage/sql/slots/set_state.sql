UPDATE pgqueue.slots
SET state = %(state)s, changed_at = now()
WHERE slot = %(slot)s
