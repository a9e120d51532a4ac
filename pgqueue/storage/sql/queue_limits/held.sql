-- How many messages of a queue are held by leases that were taken under its limit; by the index of such leases.
SELECT coalesce(sum(cardinality(ids) - cardinality(done)), 0)::integer AS held
FROM pgqueue.leases
WHERE queue_name = %(queue_name)s
