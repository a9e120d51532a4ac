-- Whether the slice was ever written since it was emptied: costs no look into it.
SELECT pg_relation_size('pgqueue.attempts_0') > 0 AS written
