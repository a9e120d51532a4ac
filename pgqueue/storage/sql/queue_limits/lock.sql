-- Takes, until the end of the transaction, the right to claim for those of some queues that have a limit and for which
-- nobody else claims at this moment. What is counted after this, in a statement of its own, has all that others have
-- claimed. Unlike other claims these are durable: a crash of the server must not undo what is counted on.
WITH wanted AS MATERIALIZED (
    SELECT queue_name, at_once, limited_since
    FROM pgqueue.queue_limits
    WHERE queue_name = ANY (%(queue_names)s::text[])
),
durable AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'on', true) AS setting
)
SELECT
    wanted.queue_name, wanted.at_once,
    extract(epoch FROM clock_timestamp() - wanted.limited_since)::double precision AS limited_s
FROM durable, wanted
WHERE pg_try_advisory_xact_lock(
    hashtextextended(wanted.queue_name, 'pgqueue.queue_limits'::regclass::oid::bigint)
)
