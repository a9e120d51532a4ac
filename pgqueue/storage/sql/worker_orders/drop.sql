DELETE FROM pgqueue.worker_orders
WHERE process = %(process)s::uuid
