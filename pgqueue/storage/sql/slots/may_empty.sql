-- Whether a slot is still being emptied as it was when the caller looked: it may have been emptied since and opened
-- anew. A slot that the register points to takes inserts, whatever the table says.
SELECT
FROM pgqueue.slots, pgqueue.open_slot
WHERE slots.slot = %(slot)s
    AND slots.state = 'closing'
    AND slots.turn = %(turn)s
    AND open_slot.last_value <> slots.slot
