-- How much the open slot has taken: ids drawn since it opened, and bytes on disk.
SELECT
    slots.slot::integer AS slot, message_seq.last_value - slots.first_id AS taken,
    pg_total_relation_size('pgqueue.messages_0') AS bytes
FROM pgqueue.slots, pgqueue.message_seq
WHERE slots.state = 'open' AND slots.slot = /*slot*/0
