-- An owner who holds a lease and is not registered (any more): a claim in his name was under way while he was given
-- up, or he has come back from a long sleep and does not know it yet. Whoever claims is registered before.
SELECT owner
FROM pgqueue.leases AS lease
WHERE claimed_at < now() - %(grace_s)s * interval '1 second'
    AND NOT EXISTS (SELECT FROM pgqueue.workers WHERE workers.owner = lease.owner)
LIMIT 1
