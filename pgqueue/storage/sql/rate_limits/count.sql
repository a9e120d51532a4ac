-- Counts one in the present interval of the server's clock, unless that and the intervals before it, which the limit spans
-- with it, would then have more than allowed. An interval's key is the given one with its number: its start, in units of so
-- many milliseconds. The caller has locked the given key, which all intervals share. Every 64 changes the row gets a
-- new index entry; the others are HOT.
WITH present AS MATERIALIZED (
    SELECT
        clock.instant,
        floor(extract(epoch FROM clock.instant) * 1000)::bigint / %(width_ms)s::bigint * %(width_ms)s::bigint AS start
    FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS instant) AS clock
),
held AS MATERIALIZED (
    SELECT
        number.ctid AS place, number.era, number.changes,
        CASE WHEN number.expires_at > present.instant THEN number.value ELSE 0 END AS value
    FROM present, pgqueue.rate_limits AS number
    WHERE number.key = %(key)s::text || (present.start / %(unit_ms)s::bigint)::text
    ORDER BY number.era DESC
    LIMIT 1
),
earlier AS MATERIALIZED (
    SELECT coalesce(sum(number.value), 0)::bigint AS value
    FROM present, generate_series(1, %(intervals)s::bigint - 1) AS ago,
        LATERAL (
            SELECT value, expires_at
            FROM pgqueue.rate_limits
            WHERE key = %(key)s::text || ((present.start - ago * %(width_ms)s::bigint) / %(unit_ms)s::bigint)::text
            ORDER BY era DESC
            LIMIT 1
        ) AS number
    WHERE number.expires_at > present.instant
),
wanted AS MATERIALIZED (
    SELECT
        %(key)s::text || (present.start / %(unit_ms)s::bigint)::text AS key,
        coalesce((SELECT value FROM held), 0) + 1 AS value,
        present.instant + %(ttl)s::interval AS expires_at
    FROM present, earlier
    WHERE coalesce((SELECT value FROM held), 0) + earlier.value < %(maximum)s::bigint
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
    SELECT wanted.key, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, wanted.value, wanted.expires_at
    FROM wanted
    WHERE NOT EXISTS (SELECT FROM held)
    RETURNING 1
)
SELECT EXISTS (SELECT FROM changed) OR EXISTS (SELECT FROM added) AS granted
