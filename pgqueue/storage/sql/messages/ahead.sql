-- How many ready messages come before one: more urgent ones of its queue, and earlier ones of its own lane, each counted
-- up to %(most)s.
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM pgqueue.ready
            WHERE lane = ANY (ARRAY(
                SELECT id FROM pgqueue.lanes WHERE queue_name = %(queue_name)s AND priority < %(priority)s
            ))
            LIMIT %(most)s
        ) AS part
    ) AS more_urgent,
    (
        SELECT count(*)
        FROM (
            SELECT
            FROM pgqueue.ready
            WHERE lane = %(lane)s AND (xid, id) < (%(xid)s, %(id)s)
            LIMIT %(most)s
        ) AS part
    ) AS earlier
