-- Whether a process that is known to have ended is gone for the server, too: then its lock, which this transaction
-- keeps, can be had. No row if somebody has taken over from it already; two that try do so one after the other.
SELECT host, pid, pg_try_advisory_xact_lock(lock_key) AS gone
FROM pgqueue.workers
WHERE owner = %(owner)s::uuid
FOR UPDATE
