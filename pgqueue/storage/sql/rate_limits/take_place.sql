-- Notes that a worker holds a place, in the transaction that took it.
INSERT INTO pgqueue.rate_limit_places (owner, key)
VALUES (%(owner)s::uuid, %(key)s::text)
RETURNING id
