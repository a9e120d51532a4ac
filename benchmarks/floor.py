"""The floor: what the same server gives to a bare loop without ack, retries or anything else.

One table, one index, ``DELETE … FOR UPDATE SKIP LOCKED LIMIT 100 RETURNING`` with a commit each, from Python on one or
more connections, each in a process of its own. Nothing that acks can be cheaper.
"""

import json
import multiprocessing
import time
import uuid

import psycopg

#: Rows taken by one statement.
BATCH = 100

_MAKE = """
DROP TABLE IF EXISTS pgqueue_floor;
CREATE TABLE pgqueue_floor (id bigint GENERATED ALWAYS AS IDENTITY, priority smallint NOT NULL, payload bytea NOT NULL);
CREATE INDEX pgqueue_floor_place ON pgqueue_floor (priority, id)
"""

_TAKE = """
WITH next AS MATERIALIZED (
    SELECT ctid FROM pgqueue_floor ORDER BY priority, id LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM pgqueue_floor WHERE ctid = ANY (ARRAY(SELECT ctid FROM next)) RETURNING id, payload
"""


def payload() -> bytes:
    """A message as pgqueue would write it: about 200 bytes."""
    message = {
        "queue_name": "default", "actor_name": "nothing", "args": [1], "kwargs": {}, "options": {},
        "message_id": str(uuid.uuid4()), "message_timestamp": 1_700_000_000_000,
    }  # fmt: skip
    return json.dumps(message, separators=(",", ":")).encode()


def measure(url: str, *, messages: int, connections: int) -> float:
    """Rows a second that ``connections`` processes take from a table of ``messages`` rows."""
    _fill(url, messages)
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(connections + 1), context.Event()
    takers = [context.Process(target=_take_all, args=(url, ready, go)) for _ in range(connections)]
    for taker in takers:
        taker.start()
    ready.wait(60)
    began = time.perf_counter()
    go.set()
    for taker in takers:
        taker.join()
    seconds = time.perf_counter() - began
    with psycopg.connect(url, autocommit=True) as conn:
        left = conn.execute("SELECT count(*) FROM pgqueue_floor").fetchone()
        conn.execute("DROP TABLE pgqueue_floor")
    if left is None or left[0] or any(taker.exitcode for taker in takers):
        raise RuntimeError(f"the floor could not be measured: {left} rows left")
    return messages / seconds


def _fill(url: str, messages: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in _MAKE.split(";"):
            conn.execute(statement)
        with (
            conn.cursor() as cursor,
            cursor.copy("COPY pgqueue_floor (priority, payload) FROM STDIN") as copy,
        ):
            for _ in range(messages):
                copy.write_row((0, payload()))
        conn.execute("ANALYZE pgqueue_floor")


def _take_all(
    url: str, ready: "multiprocessing.synchronize.Barrier", go: "multiprocessing.synchronize.Event"
) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as conn:
        ready.wait(60)
        go.wait(60)
        while conn.execute(_TAKE, (BATCH,), binary=True).fetchall():
            pass
