-- The youngest results under some keys; see find.sql.
SELECT DISTINCT ON (result.key) result.key, result.value
FROM unnest(%(keys)s::text[]) AS wanted (key)
JOIN pgqueue.results AS result ON result.key = wanted.key
WHERE result.expires_at > now()
ORDER BY result.key, result.stored_at DESC
