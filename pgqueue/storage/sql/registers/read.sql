-- What an idle worker asks: has anything become ready, are there new lanes or slots, which transactions are open.
-- In the same round trip it says that it stays idle for a while (%(idle_registers)s, none to say nothing); word
-- that another worker left recently is not repeated.
SELECT
    pg_current_snapshot()::text AS snapshot,
    message_seq.last_value AS head, catalog_seq.last_value AS catalog, rewind_seq.last_value AS rewind,
    open_slot.last_value AS open_slot,
    (
        SELECT count(setval(register.name::regclass, present.ms + %(idle_ms)s))
        FROM unnest(%(idle_registers)s::text[]) AS register (name),
            (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS ms) AS present
        WHERE pg_sequence_last_value(register.name::regclass) < present.ms + %(idle_ms)s - %(renew_ms)s
    ) AS renewed
FROM pgqueue.message_seq, pgqueue.catalog_seq, pgqueue.rewind_seq, pgqueue.open_slot
