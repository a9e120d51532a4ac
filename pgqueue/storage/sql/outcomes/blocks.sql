-- How many blocks a slice of outcomes has: they are only ever appended to.
SELECT pg_relation_size('pgqueue.outcomes_0') / current_setting('block_size')::bigint AS blocks
