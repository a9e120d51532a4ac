-- Takes the lock of the one session in a deployment that watches the server; it goes with the connection.
SELECT pg_try_advisory_lock('pgqueue.lanes'::regclass::oid::bigint::integer, 0) AS locked
