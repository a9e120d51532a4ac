-- Takes up to %(limit)s ready messages, in the order of the spans, under one lease for each slot; %(queue_name)s is
-- NULL unless all are of one queue that has a limit.
--
-- A span is a range of (xid, id) in one lane of one slot; its place in the arrays is its rank. The fetcher passes
-- only ranges that it has not seen the end of, so no claim walks over the dead rows of earlier ones.
-- The first row of the answer is the head: the snapshot of this very statement, the registers and the last row
-- taken. FOR UPDATE is not allowed directly below UNION: hence the inner sub-select of each arm.
WITH picked AS MATERIALIZED (
    SELECT found.slot, found.tid, found.xid, found.id, span.rank
    FROM unnest(
            %(slots)s::smallint[], %(lanes)s::integer[],
            %(after_xids)s::bigint[], %(after_ids)s::bigint[], %(upto_xids)s::bigint[]
        ) WITH ORDINALITY AS span (slot, lane, after_xid, after_id, upto_xid, rank),
        LATERAL (
            --[ each slot: UNION ALL
            SELECT slot, tid, xid, id
            FROM (
                SELECT /*slot*/0 AS slot, ctid AS tid, xid, id
                FROM pgqueue.ready_0
                WHERE span.slot = /*slot*/0
                    AND lane = span.lane
                    AND (xid, id) > (span.after_xid, span.after_id)
                    AND xid <= span.upto_xid
                ORDER BY xid, id
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            ) AS from_0
            --]
        ) AS found
    LIMIT %(limit)s
),
--[ each slot: ,
taken_0 AS (
    DELETE FROM pgqueue.ready_0
    WHERE ctid = ANY (ARRAY(SELECT tid FROM picked WHERE slot = /*slot*/0))
    RETURNING xid, id
),
lease_0 AS (
    INSERT INTO pgqueue.leases_0 (slot, owner, queue_name, ids)
    SELECT /*slot*/0, %(owner)s::uuid, %(queue_name)s::text, array_agg(id ORDER BY xid, id)
    FROM taken_0
    HAVING count(*) > 0
    RETURNING lid, ids
)
--],
last AS (
    SELECT xid, id, rank
    FROM picked
    WHERE rank = (SELECT max(rank) FROM picked)
    ORDER BY xid DESC, id DESC
    LIMIT 1
)
SELECT
    pg_current_snapshot()::text AS snapshot,
    message_seq.last_value AS head, catalog_seq.last_value AS catalog, rewind_seq.last_value AS rewind,
    open_slot.last_value AS open_slot,
    last.rank, last.xid, last.id,
    NULL::bigint AS lid, NULL::integer AS slot, NULL::integer AS lane, NULL::integer AS attempts,
    NULL::integer AS wait_ms, NULL::bytea AS payload
FROM pgqueue.message_seq, pgqueue.catalog_seq, pgqueue.rewind_seq, pgqueue.open_slot
LEFT JOIN last ON true
UNION ALL
--[ each slot: UNION ALL
(SELECT
    NULL, NULL, NULL, NULL, NULL, NULL, message.xid, message.id,
    (SELECT lid FROM lease_0), /*slot*/0, message.lane, message.attempts::integer,
    least(extract(epoch FROM clock_timestamp() - message.enqueued_at) * 1000, 2147483647)::integer, message.payload
FROM pgqueue.messages_0 AS message
WHERE message.id = ANY ((SELECT ids FROM lease_0)::bigint[]))
--]
