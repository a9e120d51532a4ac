-- Adds to a key's value, 0 where it does not exist or its time is over, if the sum is within bounds. The caller has
-- locked the key. Every 64 changes the row gets a new index entry; the others are HOT.
WITH present AS MATERIALIZED (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS instant
),
held AS MATERIALIZED (
    SELECT
        number.ctid AS place, number.era, number.changes, number.expires_at,
        CASE WHEN number.expires_at > present.instant THEN number.value ELSE 0 END AS value
    FROM present, pgqueue.rate_limits AS number
    WHERE number.key = %(key)s::text
    ORDER BY number.era DESC
    LIMIT 1
),
wanted AS MATERIALIZED (
    SELECT value, expires_at
    FROM (
        SELECT
            coalesce((SELECT value FROM held), 0) + %(amount)s::bigint AS value,
            coalesce(present.instant + %(ttl)s::interval, (SELECT expires_at FROM held)) AS expires_at
        FROM present
    ) AS number
    WHERE value >= coalesce(%(minimum)s::bigint, value) AND value <= coalesce(%(maximum)s::bigint, value)
),
changed AS (
    UPDATE pgqueue.rate_limits AS number
    SET
        value = wanted.value, expires_at = wanted.expires_at, changes = (held.changes + 1) %% 64,
        era = CASE WHEN held.changes < 63 THEN held.era ELSE held.era + 1 END
    FROM held, wanted
    WHERE number.ctid = (SELECT place FROM held)
    RETURNING 1
),
added AS (
    INSERT INTO pgqueue.rate_limits (key, era, value, expires_at)
    SELECT %(key)s::text, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, wanted.value, wanted.expires_at
    FROM wanted
    WHERE NOT EXISTS (SELECT FROM held)
    RETURNING 1
)
SELECT EXISTS (SELECT FROM changed) OR EXISTS (SELECT FROM added) AS granted
