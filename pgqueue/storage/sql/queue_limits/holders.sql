-- Who holds messages of a queue, and how many, whether or not they were claimed under its limit.
SELECT worker.host, worker.pid, count(*)::integer AS held
FROM pgqueue.leases AS lease
CROSS JOIN LATERAL unnest(lease.ids) AS part (id)
CROSS JOIN LATERAL (
    SELECT lane
    FROM pgqueue.messages
    WHERE slot = lease.slot AND id = part.id
    OFFSET 0
) AS message
JOIN pgqueue.lanes AS lane ON lane.id = message.lane AND lane.queue_name = %(queue_name)s
LEFT JOIN pgqueue.workers AS worker ON worker.owner = lease.owner
WHERE part.id <> ALL (lease.done)
GROUP BY worker.host, worker.pid
ORDER BY held DESC, worker.host, worker.pid
