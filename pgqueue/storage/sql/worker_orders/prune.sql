-- Forgets orders to processes that are gone. One that was only cut off comes back under the same number, and obeys.
DELETE FROM pgqueue.worker_orders
WHERE ordered_at < now() - %(older_s)s * interval '1 second'
    AND NOT EXISTS (SELECT FROM pgqueue.workers WHERE workers.process = worker_orders.process)
