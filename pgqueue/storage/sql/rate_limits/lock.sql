-- Keeps all others that change these keys out until the transaction ends; in the same order for everybody, so that
-- two never wait for each other. The lock is no row's: a key may not exist yet, and its number moves from row to row.
-- What follows must be a statement of its own, whose snapshot is younger than the lock. It must find rows by the index
-- of keys: a plan that was made while the table had one page would read all of a grown one. And making a plan each time
-- would take longer than all the rest.
SELECT
    set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
    set_config('plan_cache_mode', 'force_generic_plan', true),
    count(pg_advisory_xact_lock(part.lock))
FROM (
    SELECT DISTINCT hashtextextended(key, 'pgqueue.rate_limits'::regclass::oid::bigint) AS lock
    FROM unnest(%(keys)s::text[]) AS key
    ORDER BY lock
) AS part
