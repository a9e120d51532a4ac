DELETE FROM pgqueue.workers
WHERE owner = %(owner)s::uuid
