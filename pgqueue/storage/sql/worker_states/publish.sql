-- Says what a registered worker serves and runs, and what fails in him; nothing if he has been given up.
INSERT INTO pgqueue.worker_states (owner, queues, actors, running, state, memory_bytes, faults, running_since)
SELECT
    worker.owner, %(queues)s::text[], %(actors)s::text[], %(running)s::bigint[],
    %(state)s::text, %(memory_bytes)s::bigint, %(faults)s::jsonb,
    ARRAY(
        SELECT clock_timestamp() - part.ms * interval '1 millisecond'
        FROM unnest(%(running_ms)s::double precision[]) WITH ORDINALITY AS part (ms, place)
        ORDER BY part.place
    )
FROM pgqueue.workers AS worker
WHERE worker.owner = %(owner)s::uuid
ON CONFLICT (owner) DO UPDATE
SET queues = excluded.queues, actors = excluded.actors, running = excluded.running, state = excluded.state,
    memory_bytes = excluded.memory_bytes, faults = excluded.faults, running_since = excluded.running_since
