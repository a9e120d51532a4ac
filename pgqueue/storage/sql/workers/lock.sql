-- The lock that shows the server that a worker lives: it goes with the connection.
SELECT pg_advisory_lock(%(lock_key)s)
