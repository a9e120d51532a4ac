-- Marks a transaction as that of one run: the mark ends with it, so that a commit in between shows. An audit trigger
-- of the application can read it, too. The lock, which everybody can have, says in whose name the run was claimed.
SELECT
    set_config(%(name)s, %(message_id)s, true),
    pg_advisory_xact_lock_shared(%(high)s::integer, %(low)s::integer)
