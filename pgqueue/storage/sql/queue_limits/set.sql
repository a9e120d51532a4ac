-- Sets how many messages of a queue may run at once; nothing if it is so already. A new height of a limit that there
-- was leaves since when there is one.
INSERT INTO pgqueue.queue_limits (queue_name, at_once)
VALUES (%(queue_name)s, %(at_once)s)
ON CONFLICT (queue_name) DO UPDATE
SET at_once = excluded.at_once
WHERE queue_limits.at_once <> excluded.at_once
