-- Marks a transaction as that of one run: the mark ends with it, so that a commit in between shows. An audit trigger
-- of the application can read it, too.
SELECT set_config(%(name)s, %(message_id)s, true)
