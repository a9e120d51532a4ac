-- How many messages of a queue are held by leases that were taken before every worker knew of its limit, which holds
-- for %(settling_s)s seconds after there came to be one.
SELECT count(*)::integer AS held
FROM pgqueue.queue_limits AS standing
JOIN pgqueue.leases AS lease
    ON lease.queue_name IS NULL
    AND lease.claimed_at < standing.limited_since + %(settling_s)s * interval '1 second'
CROSS JOIN LATERAL unnest(lease.ids) AS part (id)
CROSS JOIN LATERAL (
    SELECT lane
    FROM pgqueue.messages
    WHERE slot = lease.slot AND id = part.id
    OFFSET 0
) AS message
JOIN pgqueue.lanes AS lane ON lane.id = message.lane AND lane.queue_name = standing.queue_name
WHERE standing.queue_name = %(queue_name)s AND part.id <> ALL (lease.done)
