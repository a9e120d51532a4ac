-- Keeps all others that sum over the keys of this family out until the transaction ends.
-- The lock is no row's, as the key may not exist yet, and the sum covers keys that others are about to write.
SELECT pg_advisory_xact_lock(hashtextextended('rate limits ' || %(family)s::text, 0))
