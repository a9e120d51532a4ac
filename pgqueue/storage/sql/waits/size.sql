-- How many bytes the word of those who wait takes up, dead rows included.
SELECT pg_relation_size('pgqueue.waits') AS size
