-- Makes the lanes that are missing. In a transaction of its own, never in an application's: two applications that
-- use a new queue at once must not wait for each other's commit. Always durable: who knows of a lane uses its number,
-- also after a crash that has taken, where durability is lowered, the row, and would give the number to another queue.
WITH added AS (
    INSERT INTO pgqueue.lanes (queue_name, priority)
    SELECT queue_name, priority
    FROM unnest(%(queue_names)s::text[], %(priorities)s::integer[]) AS lane (queue_name, priority)
    ORDER BY queue_name, priority
    ON CONFLICT (queue_name, priority) DO NOTHING
    RETURNING id
)
SELECT
    count(*) AS added,
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) END
FROM added
