-- Opens a free slot for inserts. The register shows at once, before the commit: whoever inserts early does so into a
-- slot that fetchers hear of a moment later.
WITH closed AS (
    UPDATE pgqueue.slots
    SET state = 'closing', changed_at = now()
    WHERE state = 'open'
),
opened AS (
    UPDATE pgqueue.slots
    SET state = 'open', changed_at = now(), turn = 1 + (SELECT max(turn) FROM pgqueue.slots),
        first_id = (SELECT last_value FROM pgqueue.message_seq)
    WHERE slot = %(slot)s
    RETURNING slot
)
SELECT setval('pgqueue.open_slot', slot) AS slot
FROM opened
