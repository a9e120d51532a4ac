"""Settlements torn between any two steps: ``python -m tests.drills.torn HOW SCENARIO FIRST STRIDE``, with DRILL_URL.

A step is a round trip to the server on a connection that settles: the acker's, that of a transactional body, or one of
the broker's pool. For n = FIRST, FIRST + STRIDE, … a child sends one message, runs it, and just before the n-th step
after the body has begun it is killed, or its connection is, or the connection just after, so that the server has taken
the step and nobody was told. Then the database is looked at: either all of the message's
end is there or nothing. A child that nothing happens to finishes what is left, and the database is looked at again. It
ends with the first child that finishes before its n-th step. The last line written is how many steps there were.
"""

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any

import psycopg

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.composition import group, pipeline
from pgqueue.maintenance import reaper
from pgqueue.message import Message
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.worker import Worker

from .torn_checks import drained, look

URL = os.environ["DRILL_URL"]

#: The connections whose round trips are steps.
SETTLING = {"pgqueue acker", "pgqueue actor", "pgqueue"}

#: What the exit codes of children mean.
FINISHED, TORN = 0, 10

#: Seconds in which a child has to be through.
PATIENCE_S = 30.0


class Tear:
    """Does to the connection that takes the n-th step after it was armed what ``how`` says, one of `HOW`."""

    def __init__(self, n: int, how: str) -> None:
        self._n = n
        self._before, self._after = HOW[how]
        self._wait = psycopg.Connection.wait
        self.armed = self.torn = False
        psycopg.Connection.wait = self._counting()  # type: ignore[method-assign]

    def _counting(self) -> Callable[..., Any]:
        def wait(
            conn: "psycopg.Connection[Any]", gen: Generator[Any, Any, Any], *args: Any, **more: Any
        ) -> Any:
            if not self._comes(conn):
                return self._wait(conn, gen, *args, **more)
            self._before(conn)
            answer = self._wait(conn, gen, *args, **more)
            self._after(conn)
            return answer

        return wait

    def _comes(self, conn: "psycopg.Connection[Any]") -> bool:
        """Count a step; answer whether it is the one."""
        if not self.armed or conn.info.parameter_status("application_name") not in SETTLING:
            return False
        self._n -= 1
        if self._n == -1:
            self.armed, self.torn = False, True
        return self.torn


def kill(_: object) -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(conn: "psycopg.Connection[Any]") -> None:
    """Have the server end a connection; return when it has."""
    with psycopg.connect(URL, autocommit=True, application_name="drill") as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", (conn.info.backend_pid,))


def leave_unanswered(conn: "psycopg.Connection[Any]") -> None:
    """Have the server end a connection whose answer has come, and forget that."""
    terminate(conn)
    conn.close()
    raise psycopg.OperationalError("the connection has ended before the answer came")


def leave(_: object) -> None:
    """Do nothing."""


#: What happens just before a step, and just after.
HOW: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "kill": (kill, leave),
    "terminate": (terminate, leave),
    "unanswered": (leave, leave_unanswered),
}


class Program:
    """The broker and its actors, as every child has them."""

    def __init__(self, tear: Tear | None) -> None:
        self._tear = tear
        self.broker = PostgresBroker(URL)
        self.broker.add_middleware(GroupCallbacks(LimiterBackend(broker=self.broker)))
        self.broker.add_middleware(Results(backend=PostgresBackend(broker=self.broker)))
        pgqueue.set_broker(self.broker)
        soon = {"store_results": True, "max_retries": 2, "min_backoff": 1, "max_backoff": 1}
        for name in ("plain", "transactional"):
            self._actor(self._body, name, transactional=name == "transactional", **soon)
        for name in ("next", "succeeded", "failed", "completed", "sent"):
            self._actor(self._follow, name)

    def _actor(self, body: Callable[..., Any], name: str, **options: Any) -> None:
        pgqueue.actor(body, actor_name=name, **options)  # type: ignore[call-overload]

    def _body(self, tag: str, failures: int) -> str:
        if self._tear is not None and not self._tear.torn:
            self._tear.armed = True
        message = self.broker.actor_transactions.current()
        if message is not None:
            message.connection.execute("INSERT INTO effects (what) VALUES (%s)", (tag,))
            self.broker.get_actor("sent").send(tag)
        if failures:
            self._fail(tag, failures)
        return tag

    def _fail(self, tag: str, failures: int) -> None:
        with psycopg.connect(URL, autocommit=True, application_name="drill") as conn:
            before = conn.execute(
                "INSERT INTO runs VALUES (%s) RETURNING (SELECT count(*) FROM runs WHERE what = %s)",
                (tag, tag),
            ).fetchone()
        if before is None or before[0] < failures:
            raise RuntimeError(tag)

    def _follow(self, *args: Any) -> None:
        """Do nothing: what counts is that it was sent, and acknowledged."""

    def send(self, scenario: str, tag: str) -> None:
        """Send the message of a scenario, with all that can follow from one."""
        name, _, end = scenario.partition(" ")
        failures = {"": 0, "retried": 1, "failed": 99}[end]
        first: Message[Any] = self.broker.get_actor(name).message_with_options(
            args=(tag, failures), on_success="succeeded", on_failure="failed"
        )
        steps = pipeline([first, self.broker.get_actor("next").message_with_options()])
        members = group([steps.messages[0]])
        members.add_completion_callback(self.broker.get_actor("completed").message(tag))
        members.run()


def child(n: int, how: str, scenario: str, tag: str) -> int:
    """Run a scenario, or what is left of one if there is no ``how``."""
    tear = Tear(n, how) if how else None
    program = Program(tear)
    worker = Worker(program.broker, worker_threads=1, worker_timeout=50)
    if how:
        program.send(scenario, tag)
    worker.start()
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(URL, autocommit=True, application_name="drill") as conn:
        while not drained(conn) and time.monotonic() < deadline:
            time.sleep(0.005)
    return TORN if tear is not None and tear.torn else FINISHED


def fork(*arguments: Any) -> int:
    """Run a child; return its exit code, negative for a signal."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            code = child(*arguments)
        except BaseException:  # noqa: BLE001  # the exit code tells of it
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def tear_all(how: str, scenario: str, steps: range) -> int:
    """Tear a scenario at each of the steps; return the first that it does not have."""
    for n in steps:
        tag = f"<{scenario} {n}>"
        code = fork(n, how, scenario, tag)
        if code == -signal.SIGKILL and how == "kill":
            code = TORN
        if code not in {FINISHED, TORN}:
            raise RuntimeError(f"at step {n} the child ended with {code}")
        left = look(URL, tag)
        left.assert_whole(scenario, n)
        if how == "kill" and code == TORN:
            fork(0, "", scenario, tag)
            left = look(URL, tag)
        left.assert_finished(scenario, n)
        if code == FINISHED:
            return n
    raise RuntimeError("there is no end to the steps")


def main() -> None:
    """Tear, and tell how often."""
    logging.basicConfig(level=logging.CRITICAL)
    reaper.GRACE_S = reaper.CALM_S = 0.0
    reaper.INTERVAL_S = 0.02
    how, scenario, first, stride = sys.argv[1:]
    print(tear_all(how, scenario, range(int(first), 100, int(stride))), flush=True)


if __name__ == "__main__":
    main()
