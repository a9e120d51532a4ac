-- Points the register to the slot that the table calls open. Opening sets the register first: if it failed between that
-- and its commit, senders write into a slot that fetchers do not know.
SELECT setval('pgqueue.open_slot', slots.slot) AS slot
FROM pgqueue.slots, pgqueue.open_slot
WHERE slots.state = 'open' AND slots.slot <> open_slot.last_value
