-- Orders a registered process something; a process that is to stop is not called back to anything less. Answers what
-- stands after that, and whether it has changed; nothing for a process that is not registered.
WITH before AS MATERIALIZED (
    SELECT worker.process, standing.verb
    FROM (SELECT process FROM pgqueue.workers WHERE process = %(process)s::uuid LIMIT 1) AS worker
    LEFT JOIN pgqueue.worker_orders AS standing ON standing.process = worker.process
),
given AS (
    INSERT INTO pgqueue.worker_orders (process, verb)
    SELECT process, %(verb)s::text
    FROM before
    ON CONFLICT (process) DO UPDATE
    SET verb = excluded.verb, ordered_at = excluded.ordered_at
    WHERE worker_orders.verb = 'quiet' AND excluded.verb = 'stop'
    RETURNING verb
)
SELECT coalesce((SELECT verb FROM given), before.verb) AS verb, EXISTS (SELECT FROM given) AS changed
FROM before
