-- When the first message of a block was finished: rows lie in the order of their commits, near enough.
SELECT finished_at
FROM pgqueue.outcomes_0
WHERE ctid >= %(block)s::tid AND ctid < %(end)s::tid
ORDER BY ctid
LIMIT 1
