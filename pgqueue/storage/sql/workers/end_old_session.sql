-- Ends the session that holds an owner's lock, if it is one of these: our own, of a connection that we have given up and
-- the server has not. Nobody else's, though the reaper may hold the lock for a moment.
SELECT pg_terminate_backend(pid)
FROM pg_locks
WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND objsubid = 1
    AND (classid::bigint << 32) | objid::bigint = %(lock_key)s
    AND granted
    AND pid = ANY (%(pids)s::integer[])
    AND pid <> pg_backend_pid()
