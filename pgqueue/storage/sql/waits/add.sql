-- Leaves word that somebody waits for what is stored under each of these keys.
INSERT INTO pgqueue.waits (key, channel, ticket)
SELECT wait.key, %(channel)s::text, wait.ticket
FROM unnest(%(keys)s::text[], %(tickets)s::bigint[]) AS wait (key, ticket)
