-- How many processes run workers: those that were heard of lately. One may be registered under several names.
SELECT count(DISTINCT (host, pid))::integer AS alive
FROM pgqueue.workers
WHERE abs(extract(epoch FROM now() - seen_at)) < %(silent_s)s
