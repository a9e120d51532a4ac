-- Takes the lock of the one session in a deployment that exports the figures of queues; it goes with the connection.
SELECT pg_try_advisory_lock('pgqueue.lanes'::regclass::oid::bigint::integer, 1) AS locked
