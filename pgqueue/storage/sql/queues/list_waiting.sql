-- What waits in all queues, in the order in which it would run: for tests, which look at what was sent.
SELECT message.payload, NULL::timestamptz AS due_at, lane.priority, ready.xid, ready.id
FROM pgqueue.ready
JOIN pgqueue.lanes AS lane ON lane.id = ready.lane
JOIN pgqueue.messages AS message ON message.slot = ready.slot AND message.id = ready.id
UNION ALL
SELECT scheduled.payload, scheduled.due_at, lane.priority, scheduled.xid, scheduled.id
FROM pgqueue.scheduled JOIN pgqueue.lanes AS lane ON lane.id = scheduled.lane
ORDER BY due_at NULLS FIRST, priority, xid, id
