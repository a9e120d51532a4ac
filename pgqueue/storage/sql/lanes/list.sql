SELECT id, queue_name, priority
FROM pgqueue.lanes
ORDER BY id
