-- Rows of the slice for the longest times to live, which is never truncated.
DELETE FROM pgqueue.results_0
WHERE ctid = ANY (ARRAY(SELECT ctid FROM pgqueue.results_0 WHERE expires_at < now() LIMIT %(limit)s))
