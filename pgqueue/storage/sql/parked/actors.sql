-- The actors of whom messages are parked and who are not paused (any more). Hops from one name to the next in the
-- index: there are few names and perhaps millions of messages.
WITH RECURSIVE present AS (
    (SELECT actor_name FROM pgqueue.parked ORDER BY actor_name LIMIT 1)
    UNION ALL
    SELECT (
        SELECT parked.actor_name
        FROM pgqueue.parked
        WHERE parked.actor_name > present.actor_name
        ORDER BY parked.actor_name
        LIMIT 1
    )
    FROM present
    WHERE present.actor_name IS NOT NULL
)
SELECT actor_name
FROM present
WHERE actor_name IS NOT NULL
    AND NOT EXISTS (SELECT FROM pgqueue.pauses WHERE kind = 'actor' AND name = present.actor_name)
