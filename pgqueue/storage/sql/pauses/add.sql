INSERT INTO pgqueue.pauses (kind, name)
VALUES (%(kind)s, %(name)s)
ON CONFLICT (kind, name) DO NOTHING
