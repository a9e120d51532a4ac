-- All that operators have ordered, for a process to obey; asked twice a second, and nearly always nothing.
SELECT kind, name
FROM pgqueue.pauses
UNION ALL
SELECT CASE state WHEN 'refused' THEN 'refused' ELSE 'cancel' END AS kind, message_id::text AS name
FROM pgqueue.cancellations
UNION ALL
SELECT 'parked' AS kind, '' AS name
WHERE EXISTS (SELECT FROM pgqueue.parked)
UNION ALL
SELECT 'process' AS kind, verb AS name
FROM pgqueue.worker_orders
WHERE process = %(process)s::uuid
UNION ALL
SELECT 'limit' AS kind, queue_name AS name
FROM pgqueue.queue_limits
