-- Lets a registered process work again, unless it is to stop. Answers what stands after that, and whether it has
-- changed; nothing for a process that is not registered.
WITH withdrawn AS (
    DELETE FROM pgqueue.worker_orders
    WHERE process = %(process)s::uuid AND verb = 'quiet'
    RETURNING verb
)
SELECT
    (SELECT verb FROM pgqueue.worker_orders WHERE process = %(process)s::uuid AND verb = 'stop') AS verb,
    EXISTS (SELECT FROM withdrawn) AS changed
FROM (SELECT FROM pgqueue.workers WHERE process = %(process)s::uuid LIMIT 1) AS worker
