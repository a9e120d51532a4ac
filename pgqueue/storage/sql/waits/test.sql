-- A notification to oneself: it comes if this connection's notifications come at all.
SELECT pg_notify(%(channel)s, '')
