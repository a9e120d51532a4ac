-- Leaves word that somebody waits for what is stored under a key.
INSERT INTO pgqueue.waits (key, channel, ticket)
VALUES (%(key)s, %(channel)s, %(ticket)s)
