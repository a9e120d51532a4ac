-- What a closing slot still holds, counted up to a limit.
SELECT
    (SELECT count(*) FROM (SELECT FROM pgqueue.ready_0 LIMIT %(limit)s) AS ready)::integer AS ready,
    (SELECT count(*) FROM (SELECT FROM pgqueue.leases_0 LIMIT %(limit)s) AS leases)::integer AS leases
