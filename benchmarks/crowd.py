"""Messages in each state by the million, made by the server itself in seconds. Nothing of it is as workers leave it."""

from __future__ import annotations

import psycopg

__all__ = ["QUEUE", "fill"]

#: The queue that all of them are in.
QUEUE = "bulk"

_PAYLOAD = """convert_to(format(
    '{"queue_name":"%%s","actor_name":"%%s","args":[%%s],"kwargs":{},"options":{},"message_id":"%%s","message_timestamp":0}',
    'bulk', 'actor_' || n %% 20, n, md5(n::text)::uuid), 'UTF8')"""

_READY = f"""WITH sent AS (
    INSERT INTO pgqueue.messages (id, xid, enqueued_at, message_id, lane, slot, attempts, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), pg_current_xact_id()::text::bigint, now(), md5(n::text)::uuid, %(lane)s,
        slot.slot, 0, 'actor_' || n %% 20, {_PAYLOAD}
    FROM generate_series(1, %(number)s) AS n, pgqueue.slots AS slot
    WHERE slot.state = 'open'
    RETURNING id, xid, lane, slot
)
INSERT INTO pgqueue.ready (xid, id, lane, slot) SELECT xid, id, lane, slot FROM sent"""

_SCHEDULED = f"""INSERT INTO pgqueue.scheduled
    (id, xid, due_at, enqueued_at, message_id, lane, attempts, actor_name, payload)
SELECT
    nextval('pgqueue.message_seq'), 3, now() + n * interval '1 second', now(), md5('s' || n)::uuid, %(lane)s, 0,
    'actor_' || n %% 20, {_PAYLOAD}
FROM generate_series(1, %(number)s) AS n"""

_DEAD = f"""INSERT INTO pgqueue.dead_letters
    (died_at, enqueued_at, message_id, queue_name, priority, actor_name, attempts, reason, error, traceback, payload)
SELECT
    now() - n * interval '10 milliseconds', now(), md5('d' || n)::uuid, 'bulk', 0, 'actor_' || n %% 20, 0, 'failed',
    'ValueError: ' || n, 'Traceback', {_PAYLOAD}
FROM generate_series(1, %(number)s) AS n"""

_ENDED = """INSERT INTO pgqueue.outcomes
    (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, actor_name, error)
SELECT
    n, at.instant, md5('e' || n)::uuid, %(lane)s, n %% 1000, n %% 100,
    (extract(epoch FROM at.instant)::bigint / 7200 %% 16)::smallint, 0,
    CASE WHEN n %% 50 = 0 THEN 'f' ELSE 'd' END, 'actor_' || n %% 20,
    CASE WHEN n %% 50 = 0 THEN 'ValueError: ' || n END
FROM generate_series(1, %(number)s) AS n
CROSS JOIN LATERAL (
    SELECT now() - (%(number)s - n)::float8 * %(width_s)s * interval '1 second' / %(number)s AS instant
) AS at
ORDER BY n"""

#: Three of each message that has died, and each once for some that are done.
_ATTEMPTS = """INSERT INTO pgqueue.attempts
    (failed_at, message_id, lane, wait_ms, run_ms, retries, slice, kind, actor_name, worker, error, traceback)
SELECT
    now() - n * interval '10 milliseconds', md5('d' || n %% (%(number)s / 3 + 1))::uuid, %(lane)s, 5, 7,
    n / (%(number)s / 3 + 1), (extract(epoch FROM now())::bigint / 86400 %% 16)::smallint, 'r', 'actor_' || n %% 20,
    'here:1', 'ValueError: ' || n, 'Traceback'
FROM generate_series(1, %(number)s) AS n"""


def fill(
    url: str,
    *,
    lane: int,
    schema: str = "pgqueue",
    ready: int = 0,
    scheduled: int = 0,
    dead: int = 0,
    ended: int = 0,
    attempts: int = 0,
    ended_within_s: float = 600.0,
) -> None:
    """Fill a lane of the queue ``bulk`` with messages of twenty actors."""
    numbers = {_READY: ready, _SCHEDULED: scheduled, _DEAD: dead, _ENDED: ended, _ATTEMPTS: attempts}
    with psycopg.connect(url, autocommit=True) as conn:
        for statement, number in numbers.items():
            if number:
                text = statement.replace("pgqueue.", f'"{schema}".')
                conn.execute(text.encode(), {"lane": lane, "number": number, "width_s": ended_within_s})
