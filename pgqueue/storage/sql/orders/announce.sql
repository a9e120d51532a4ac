-- Tells all workers to look at once what has been ordered.
SELECT pg_notify(%(channel)s, 'orders')
