-- One worker that is lost: its lock can be had although it had time to connect again, or it was silent for so long
-- that its connection must be a dead one that the server still believes in. The lock taken here holds until the end
-- of the transaction, so that the worker can't come back while its messages are handed out. CASE, because AND does
-- not promise to look at the clock before it takes the lock. A heartbeat in the future is one from before the clock
-- was put back.
SELECT owner, host, pid, threads::integer AS threads
FROM pgqueue.workers
WHERE CASE
    WHEN owner = ANY (%(spare)s::uuid[]) THEN false
    WHEN seen_at < now() - %(silent_s)s * interval '1 second' THEN true
    WHEN abs(extract(epoch FROM now() - seen_at)) > %(grace_s)s THEN pg_try_advisory_xact_lock(lock_key)
    ELSE false
END
ORDER BY seen_at
LIMIT 1
FOR UPDATE SKIP LOCKED
