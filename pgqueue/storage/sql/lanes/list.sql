-- All lanes, and whose they are: `origin` is what messages/enqueue compares.
SELECT
    id, queue_name, priority,
    concat_ws('/', extract(epoch FROM pg_postmaster_start_time()), 'pgqueue.lanes'::regclass::oid) AS origin
FROM pgqueue.lanes
ORDER BY id
