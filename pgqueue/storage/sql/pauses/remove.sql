DELETE FROM pgqueue.pauses
WHERE kind = %(kind)s AND name = %(name)s
