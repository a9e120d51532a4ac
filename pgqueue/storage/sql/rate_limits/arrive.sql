-- Counts barriers down, each by as many parties as arrive at it, and answers which of them are through. The caller has
-- locked the keys. A barrier stays at 0 when all are through: whoever still comes is one too many. One that does not
-- exist, or has outlived its time, is through with the first who comes, as for `Barrier.wait`; but only once.
WITH present AS MATERIALIZED (
    SELECT clock_timestamp() AS instant
),
barrier AS MATERIALIZED (
    SELECT
        arrival.key, arrival.parties, arrival.ttl_ms * interval '1 millisecond' AS ttl, held.place, held.era, held.changes,
        CASE WHEN held.expires_at > present.instant THEN held.value END AS value
    FROM present, unnest(%(keys)s::text[], %(parties)s::bigint[], %(ttls_ms)s::double precision[])
        AS arrival (key, parties, ttl_ms)
    LEFT JOIN LATERAL (
        SELECT number.ctid AS place, number.era, number.changes, number.value, number.expires_at
        FROM pgqueue.rate_limits AS number
        WHERE number.key = arrival.key
        ORDER BY number.era DESC
        LIMIT 1
    ) AS held ON true
),
changed AS (
    UPDATE pgqueue.rate_limits AS number
    SET
        value = greatest(coalesce(barrier.value, 0) - barrier.parties, 0), expires_at = present.instant + barrier.ttl,
        changes = (barrier.changes + 1) %% 64,
        era = CASE WHEN barrier.changes < 63 THEN barrier.era ELSE barrier.era + 1 END
    FROM present, barrier
    WHERE number.ctid = barrier.place AND barrier.value IS DISTINCT FROM 0
),
added AS (
    INSERT INTO pgqueue.rate_limits (key, era, value, expires_at)
    SELECT barrier.key, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, 0, present.instant + barrier.ttl
    FROM present, barrier
    WHERE barrier.era IS NULL
)
SELECT key
FROM barrier
WHERE value IS NULL OR (value > 0 AND value <= parties)
