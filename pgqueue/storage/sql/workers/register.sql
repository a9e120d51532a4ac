INSERT INTO pgqueue.workers (owner, lock_key, host, pid, threads, process)
VALUES (%(owner)s::uuid, %(lock_key)s, %(host)s, %(pid)s, %(threads)s, %(process)s::uuid)
