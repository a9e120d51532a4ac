-- One keeper at a time turns the ring, and one does any other numbered duty.
SELECT pg_try_advisory_xact_lock('pgqueue.slots'::regclass::oid::bigint::integer, %(duty)s) AS locked
