"""A message that is stuck, in each possible way: `pgqueue why` and its page say the same, which is what is so."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import pytest

from pgqueue import cli
from pgqueue.storage import lanes
from tests.support.queue import Queue, done

from .conftest import VisitorOf, bury, encoded

MINE = "mine"


class Stuck:
    """The database of a message whose id is ``mine``, and what a way to be stuck needs."""

    def __init__(self, queue: Queue, stack: ExitStack) -> None:
        self.queue = queue
        self.stack = stack

    def send(self, id_: str = MINE, *, options: dict[str, Any] | None = None, **fields: Any) -> None:
        """Send a message of ``actor``."""
        payload = encoded("actor", 1, message_id=id_, **(options or {}))
        self.queue.send_all([self.queue.new(payload, message_id=id_, **fields)])

    def worker(self, *, actors: str = "{actor}", queues: str = "{default}", state: str = "working") -> UUID:
        """A worker that is alive and serves the queue, unless told otherwise."""
        owner, process = self.queue.owner(), uuid4()
        self.queue.conn.execute(
            """INSERT INTO pgqueue.worker_states (owner, queues, actors, running, running_since, state)
            VALUES (%s, %s, %s, '{}', '{}', %s)""",
            (owner, queues, actors, state),
        )
        self.queue.conn.execute("UPDATE pgqueue.workers SET process = %s WHERE owner = %s", (process, owner))
        if state != "working":
            verb = {"quiet": "quiet", "stopping": "stop"}[state]
            self.queue.conn.execute(
                "INSERT INTO pgqueue.worker_orders (process, verb) VALUES (%s, %s)", (process, verb)
            )
        return owner

    def pause(self, kind: str, name: str) -> None:
        """Pause a queue or an actor, an hour ago."""
        self.queue.conn.execute(
            "INSERT INTO pgqueue.pauses (kind, name, paused_at) VALUES (%s, %s, now() - interval '1 hour')",
            (kind, name),
        )


def paused_queue(stuck: Stuck) -> None:
    stuck.worker()
    stuck.pause("queue", "default")
    stuck.send()


def paused_actor(stuck: Stuck) -> None:
    stuck.worker()
    stuck.pause("actor", "actor")
    stuck.send()


def parked(stuck: Stuck) -> None:
    stuck.worker()
    stuck.pause("actor", "actor")
    stuck.queue.conn.execute(
        """INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
        SELECT 1, now(), md5('mine')::uuid, %s, 0, 'mine', 'actor', %s""",
        (stuck.queue.lane(), encoded("actor", message_id=MINE)),
    )


def quiet_workers(stuck: Stuck) -> None:
    stuck.worker(state="quiet")
    stuck.send()


def stopping_workers(stuck: Stuck) -> None:
    stuck.worker(state="stopping")
    stuck.send()


def no_worker(stuck: Stuck) -> None:
    stuck.send()


def silent_worker(stuck: Stuck) -> None:
    stuck.worker()
    stuck.queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '20 seconds'")
    stuck.send()


def nobody_serves_it(stuck: Stuck) -> None:
    stuck.worker(queues="{mail}")
    stuck.send()


def nobody_declares_it(stuck: Stuck) -> None:
    stuck.worker(actors="{renamed}")
    stuck.send()


def limit_held(stuck: Stuck) -> None:
    stuck.queue.conn.execute("INSERT INTO pgqueue.queue_limits (queue_name, at_once) VALUES ('default', 2)")
    owner = stuck.worker()
    stuck.send("one")
    stuck.send("two")
    assert len(stuck.queue.claimed(owner)) == 2
    stuck.send()


def behind_others(stuck: Stuck) -> None:
    stuck.worker()
    lanes.add_lanes(stuck.queue.conn, stuck.queue.statements, lanes=[("default", -5)])
    for number in range(3):
        stuck.send(f"urgent {number}", priority=-5)
    stuck.send("earlier")
    stuck.send()


def claimed_ahead(stuck: Stuck) -> None:
    owner = stuck.worker()
    stuck.send()
    stuck.queue.claimed(owner)


def running(stuck: Stuck) -> None:
    owner = stuck.worker()
    stuck.send()
    (message,) = stuck.queue.claimed(owner)
    stuck.queue.conn.execute(
        "UPDATE pgqueue.worker_states SET running = %s, running_since = ARRAY[now() - interval '1 hour']",
        ([message.id],),
    )


def uncommitted(stuck: Stuck) -> None:
    stuck.queue.lane()
    writer = stuck.stack.enter_context(stuck.queue.connect())
    stuck.stack.callback(lambda: writer.execute("ROLLBACK"))
    writer.execute("BEGIN")
    payload = encoded("actor", message_id=MINE)
    stuck.queue.send_all([stuck.queue.new(payload, message_id=MINE)], conn=writer)


def not_due(stuck: Stuck) -> None:
    stuck.worker()
    stuck.send(delay_ms=7_230_000)


def refused_by_a_rate_limit(stuck: Stuck) -> None:
    stuck.worker()
    traceback = "Traceback\npgqueue.rate_limits.RateLimitExceeded: rate limit exceeded for key 'api'\n"
    stuck.send(delay_ms=60_000, options={"retries": 2, "traceback": traceback})


def due_and_not_ready(stuck: Stuck) -> None:
    stuck.send(delay_ms=3_600_000)
    stuck.queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = now() - interval '30 seconds'")


def too_old(stuck: Stuck) -> None:
    stuck.worker()
    stuck.pause("queue", "default")
    stuck.send(options={"max_age": 1})


def dead(stuck: Stuck) -> None:
    bury(stuck.queue, MINE, error="ValueError: no such order")


def ended(stuck: Stuck) -> None:
    owner = stuck.worker()
    stuck.send()
    (message,) = stuck.queue.claimed(owner)
    verdict = done(message)
    verdict.message_id = MINE
    stuck.queue.settle([verdict], closes=True)


def never_sent(stuck: Stuck) -> None:
    stuck.worker()


NEXT = r"pgqueue queues resume"

#: How it got stuck, the state that is named, what is said, and the command that helps.
WAYS: list[tuple[Callable[[Stuck], None], str, str, str | None]] = [
    (paused_queue, "queued", "Queue 'default' has been paused for 1 h", f"{NEXT} default"),
    (paused_actor, "queued", "Actor 'actor' has been paused for 1 h", f"{NEXT} --actor actor"),
    (parked, "queued", "paused for 1 h.*; a worker put the message aside", f"{NEXT} --actor actor"),
    (quiet_workers, "queued", "begins messages: here:1 is quiet", r"pgqueue workers work [0-9a-f]{8}"),
    (stopping_workers, "queued", "begins messages: here:1 is stopping", "pgqueue MODULE"),
    (no_worker, "queued", "No worker is alive", "pgqueue MODULE"),
    (silent_worker, "queued", r"No worker is alive \(1 worker silent\)", "pgqueue MODULE"),
    (nobody_serves_it, "queued", "No worker serves queue 'default'; those alive serve 'mail'",
     "pgqueue MODULE --queues default"),
    (nobody_declares_it, "queued", "No worker that serves queue 'default' declares actor 'actor'", None),
    (limit_held, "queued", "runs at most 2 at once, and 2 are held now: 2 by here:1",
     "pgqueue queues limit default 3"),
    (behind_others, "queued", "behind 3 messages of higher priority.*behind 1 message of the same priority", None),
    (claimed_ahead, "running", "Worker here:1 claimed it .* ago.*waits for one of 2 threads",
     "pgqueue messages cancel mine"),
    (running, "running", "It is running: worker here:1 began 1 h", "pgqueue messages cancel mine"),
    (uncommitted, "unknown", r"its transaction is open.*Session \d+ .*has written something and not committed", None),
    (not_due, "scheduled", "It is not due: it will be .*, in 2 h", "pgqueue messages retry mine"),
    (refused_by_a_rate_limit, "scheduled", "It has failed 2 times, the last time with .*RateLimitExceeded",
     "pgqueue messages retry mine"),
    (due_and_not_ready, "scheduled", "It has been due for .* and was not made ready.*none is alive",
     "pgqueue MODULE"),
    (too_old, "queued", "may be 1 ms old at most: whoever claims it makes it a dead letter",
     f"{NEXT} default"),
    (dead, "failed", "It is a dead letter since .*: its actor failed.*ValueError: no such order",
     "pgqueue dead requeue mine"),
    (ended, "done", "It is over: done .*It waited for .* and ran for", None),
    (never_sent, "unknown", "No message of this id is known", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("way", "status", "says", "remedy"), WAYS, ids=lambda way: getattr(way, "__name__", "")
)
def test_the_command_and_the_page_say_why(
    way: Callable[[Stuck], None],
    status: str,
    says: str,
    remedy: str | None,
    queue: Queue,
    database_url: str,
    visitor_of: VisitorOf,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ExitStack() as stack:
        way(Stuck(queue, stack))
        assert cli.main(["why", MINE, "--url", database_url]) == (status == "unknown")
        told = capsys.readouterr().out
        cli.main(["why", MINE, "--url", database_url, "--json"])
        data = json.loads(capsys.readouterr().out)
        page = visitor_of().get("/message", params={"id": MINE})
    assert f"{MINE} is {status}" in told
    reasons = " ".join(line.strip() for line in told.splitlines()[1:])
    shown = " ".join(re.findall(r"<li>(.*?)</li>", html.unescape(page.text).partition("</section>")[0]))
    for text in (reasons, shown, " ".join(data["because"])):
        assert re.search(says, text), text
    assert page.status_code == (404 if status == "unknown" else 200)
    assert f'<span class="badge {status}' in page.text
    if remedy is None:
        assert "→" not in told
        assert "In a terminal" not in page.text
        assert data["remedy"] is None
    else:
        assert re.search(f"→ {remedy}$", told, re.MULTILINE), told
        assert re.search(rf"In a terminal: <code>{remedy}</code>", page.text)
        assert re.fullmatch(remedy, data["remedy"])
