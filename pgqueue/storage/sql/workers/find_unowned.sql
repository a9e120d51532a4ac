-- An owner who holds a lease, or a place of a concurrency limit, and is not registered (any more): a claim in his name
-- was under way while he was given up, or he has come back from a long sleep and does not know it yet. Whoever claims is
-- registered before.
SELECT owner
FROM (
    SELECT owner, claimed_at AS since FROM pgqueue.leases
    UNION ALL
    SELECT owner, taken_at AS since FROM pgqueue.rate_limit_places
) AS held
WHERE since < now() - %(grace_s)s * interval '1 second'
    AND NOT EXISTS (SELECT FROM pgqueue.workers WHERE workers.owner = held.owner)
LIMIT 1
