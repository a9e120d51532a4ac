DELETE FROM pgqueue.dead_letters
WHERE id = ANY (%(ids)s::bigint[])
