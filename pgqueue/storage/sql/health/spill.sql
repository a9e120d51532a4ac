-- More rows than work_mem holds: the server writes half a megabyte to a temporary file, and removes it.
SELECT count(*) FROM generate_series(1, 20000) AS number
