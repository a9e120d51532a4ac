-- Takes word back that was left, by whoever waits no more.
DELETE FROM pgqueue.waits AS wait
USING unnest(%(keys)s::text[], %(tickets)s::bigint[]) AS over (key, ticket)
WHERE wait.key = over.key AND wait.ticket = over.ticket AND wait.channel = %(channel)s
