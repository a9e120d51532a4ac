-- Renews the heartbeat of the caller's owners and answers which of them still exist: others were declared lost. And what
-- time it is.
UPDATE pgqueue.workers
SET seen_at = now()
WHERE owner = ANY (%(owners)s::uuid[])
RETURNING owner, (extract(epoch FROM clock_timestamp()) * 1000)::double precision
