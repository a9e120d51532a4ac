"""A queue's limit over worker processes that are killed."""

import os
import signal

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.project import Project, stop, wait_for_workers, worker_pids

APP = """
import os, time, threading, psycopg, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)
mine = threading.local()

@pgqueue.actor(max_retries=0)
def work():
    if not hasattr(mine, "conn"):
        mine.conn = psycopg.connect(os.environ["PGQUEUE_URL"], autocommit=True)
    query = "INSERT INTO public.ledger (pid, begun) VALUES (%s, clock_timestamp()) RETURNING id"
    id_ = mine.conn.execute(query, (os.getpid(),)).fetchone()[0]
    time.sleep(0.02)
    mine.conn.execute("UPDATE public.ledger SET ended = clock_timestamp() WHERE id = %s", (id_,))
"""

LEDGER = """
CREATE TABLE public.ledger (
    id bigint GENERATED ALWAYS AS IDENTITY, pid integer, begun timestamptz, ended timestamptz
)
"""

#: The most runs at once: at the beginning of one, those that had begun and not ended.
MOST = """
SELECT max((
    SELECT count(*) FROM public.ledger AS other
    WHERE other.begun <= run.begun AND other.ended > run.begun
))
FROM public.ledger AS run
"""


@pytest.mark.slow
def test_it_holds_over_processes_and_a_killed_one_frees_its_places(
    project: Project, database_url: str
) -> None:
    project.write("app.py", APP)
    environment: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(LEDGER)
        send = project.start_python(
            "-c",
            "import app; app.broker.limit_queue('default', 3); app.work.send_many([()] * 200); app.broker.close()",
            env=environment,
        )
        assert send.wait() == 0, send.output
        program = project.start_workers("-t", "4", processes=2, env=environment)

        def ended() -> int:
            row = conn.execute("SELECT count(*) FROM public.ledger WHERE ended IS NOT NULL").fetchone()
            return int(row[0]) if row else 0

        def one_that_runs_something() -> int:
            row = conn.execute(
                "SELECT pid FROM public.ledger WHERE ended IS NULL ORDER BY id DESC LIMIT 1"
            ).fetchone()
            assert row is not None
            return int(row[0])

        def kill_one() -> None:
            victim = eventually(one_that_runs_something, within_s=30.0)
            conn.execute("CREATE TEMPORARY TABLE killed AS SELECT clock_timestamp() AS at")
            os.kill(victim, signal.SIGKILL)
            wait_for_workers(program, 3)
            conn.execute(
                """UPDATE public.ledger SET ended = greatest(begun, killed.at) FROM killed
                WHERE pid = %s AND ended IS NULL""",
                (victim,),
            )

        def some_have_ended() -> None:
            assert ended() >= 20

        eventually(some_have_ended, within_s=30.0)
        kill_one()

        def nothing_is_left() -> None:
            left = "SELECT (SELECT count(*) FROM pgqueue.ready) + (SELECT count(*) FROM pgqueue.leases)"
            assert conn.execute(left).fetchone() == (0,)

        eventually(nothing_is_left, within_s=60.0)
        assert conn.execute(MOST).fetchone() == (3,)
        assert conn.execute("SELECT count(*) FROM pgqueue.outcomes WHERE status = 'd'").fetchone() == (200,)
        assert stop(program) == 0
        assert len(worker_pids(program)) == 3
