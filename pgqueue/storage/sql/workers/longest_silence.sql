-- For how long, at most, no worker at all was heard in the last %(within_s)s seconds, counted to their ends: an outage
-- from which some may not be back yet was no longer than that. By what is known of the dead, too: each has left when he
-- began and when he was last heard. NULL if nobody was heard before, or somebody in the future, before the clock was put
-- back.
WITH present AS MATERIALIZED (
    SELECT clock_timestamp() AS instant
),
heard AS (
    SELECT sign.instant, sign.instant - lag(sign.instant) OVER (ORDER BY sign.instant) AS silence
    FROM (
        SELECT unnest(ARRAY[started_at, seen_at]) AS instant FROM pgqueue.workers
        UNION ALL
        SELECT instant FROM present
    ) AS sign
)
SELECT
    CASE
        WHEN max(heard.instant) <= present.instant AND bool_and(heard.silence IS NOT NULL)
        THEN extract(epoch FROM max(heard.silence))::double precision
    END AS silence_s
FROM heard, present
WHERE heard.instant > present.instant - %(within_s)s * interval '1 second'
GROUP BY present.instant
