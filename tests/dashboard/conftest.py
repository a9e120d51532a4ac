"""What tests of the dashboard need: one on the test's database, a visitor, and messages in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from httpx import Client

from pgqueue.dashboard import application
from pgqueue.dashboard.guard import TOKEN_COOKIE
from pgqueue.dashboard.site import Site
from pgqueue.message import Message
from tests.support.dashboards import sites_made
from tests.support.queue import Queue, done, open_queue
from tests.support.serving import served


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    """The test's database without a broker."""
    with open_queue(database_url) as opened:
        yield opened


class Visitor(Client):
    """A browser without JavaScript: it keeps cookies and repeats the token in its forms."""

    def act(self, path: str, *, json: bool = False, **fields: Any) -> Any:
        """Send a form as a page would; answer the page that one comes to, or what JSON says."""
        if TOKEN_COOKIE not in self.cookies:
            self.get("/static/icon.svg")
        form = {"token": self.cookies[TOKEN_COOKIE], **fields}
        return self.post(path, data=form, headers={"accept": "application/json"} if json else {})

    def json(self, path: str, **parameters: Any) -> Any:
        """What a page shows, as JSON."""
        answer = self.get(path, params=parameters, headers={"accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()


VisitorOf = Callable[..., Visitor]


@pytest.fixture
def sites(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Site]]:
    """The dashboards that the test makes; they let go of the database before it is dropped."""
    with sites_made(monkeypatch) as made:
        yield made


@pytest.fixture
def visitor_of(database_url: str, sites: list[Site]) -> Iterator[VisitorOf]:
    """Make dashboards with settings, and visitors to them."""
    with ExitStack() as stack:

        def make(target: Any = None, **settings: Any) -> Visitor:
            app = application.application(application.settings_of(target or database_url, **settings))
            address = stack.enter_context(served(app))
            # Without TLS: to read the certificates takes it longer than most of the tests.
            return stack.enter_context(
                Visitor(base_url=address, follow_redirects=True, timeout=30, verify=False)
            )

        yield make


@pytest.fixture
def visitor(visitor_of: VisitorOf) -> Visitor:
    """An operator's."""
    return visitor_of()


def encoded(actor: str, *args: Any, message_id: str, queue_name: str = "default", **options: Any) -> bytes:
    """A message as it is kept."""
    message: Message[None] = Message(queue_name, actor, args, {}, options, message_id=message_id)
    return message.encode()


def bury(
    queue: Queue,
    message_id: str,
    *,
    actor: str = "nobody",
    error: str = "ValueError: bad",
    queue_name: str = "default",
) -> None:
    """Put a dead letter."""
    queue.lane(queue_name)
    payload = encoded(
        actor, "secret", message_id=message_id, queue_name=queue_name, retries=3, traceback="Traceback: …"
    )
    queue.conn.execute(
        """INSERT INTO pgqueue.dead_letters
            (message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error, traceback, payload)
        VALUES (md5(%(id)s)::uuid, %(id)s, %(queue)s, 0, %(actor)s, 0, 'failed', %(error)s, 'Traceback: secret',
            %(payload)s)""",
        {"id": message_id, "queue": queue_name, "actor": actor, "error": error, "payload": payload},
    )


@dataclass(frozen=True, slots=True)
class Full:
    """A database with a message in each state; its id is the state's name."""

    queue: Queue


@pytest.fixture
def full(queue: Queue) -> Full:
    """Messages in all states, of actor ``actor`` in the queue ``default``; a worker ``here:1`` that runs one."""

    def send(id_: str, **options: Any) -> None:
        queue.send_all([queue.new(encoded("actor", 1, message_id=id_), message_id=id_, **options)])

    owner = queue.owner()
    for id_ in ("done", "failed", "cancelled"):
        send(id_)
        for message in queue.claimed(owner):
            error = "ValueError: bad" if id_ == "failed" else None
            verdict = done(message, status=id_[0], error=error)
            verdict.message_id = id_
            queue.settle([verdict], closes=True)
    send("running")
    claimed = queue.claimed(owner)
    queue.conn.execute(
        """INSERT INTO pgqueue.worker_states (owner, queues, actors, running, running_since)
        VALUES (%s, '{default}', '{actor,idle}', %s, %s)""",
        (owner, [claimed[0].id], ["2025-01-01"]),
    )
    send("queued")
    send("scheduled", delay_ms=3_600_000)
    queue.conn.execute(
        """INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
        SELECT 1, now(), md5('parked')::uuid, %s, 0, 'parked', 'paused', %s""",
        (queue.lane(), encoded("paused", message_id="parked")),
    )
    bury(queue, "dead")
    return Full(queue)
