-- All messages that nobody has claimed, as their senders left them: for the tests of programs, whose queues are short.
SELECT payload, delay_ms
FROM (
    SELECT message.payload, NULL::double precision AS delay_ms, ready.xid, ready.id
    FROM pgqueue.ready
    JOIN pgqueue.messages AS message ON message.slot = ready.slot AND message.id = ready.id
    UNION ALL
    SELECT payload, extract(epoch FROM due_at - clock_timestamp())::double precision * 1000, 0, id
    FROM pgqueue.scheduled
) AS waiting
ORDER BY delay_ms NULLS FIRST, xid, id
