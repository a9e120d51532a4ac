-- The youngest result under a key. The key's index lies in each slice: a probe each, of which most see an empty one.
SELECT value
FROM pgqueue.results
WHERE key = %(key)s AND expires_at > now()
ORDER BY stored_at DESC
LIMIT 1
