"""``pgqueue queues``, ``messages`` and ``dead``: what they print for people and for programs, and how they exit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import MessageStatus
from tests.operations.test_acting import bury
from tests.support.queue import Queue

from .conftest import Run, message_of


class TestQueues:
    def test_depths_and_states_of_all_queues(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        assert run("queues") == (0, "There is no queue yet.\n")
        postgres_broker.enqueue_many([message_of("mail")] * 2)
        postgres_broker.enqueue(message_of("mail"), delay=3_600_000)
        bury(queue, 1, queue_name="reports")
        postgres_broker.pause_queue("mail")
        postgres_broker.pause_actor("letter")
        code, text = run("queues")
        assert code == 0
        header, mail, reports, actors = text.splitlines()
        assert header.split() == [
            "queue",
            "ready",
            "running",
            "scheduled",
            "dead",
            "oldest",
            "workers",
            "state",
        ]
        assert mail.split()[:5] == ["mail", "2", "0", "1", "0"]
        assert mail.endswith("paused")
        assert reports.split()[:5] == ["reports", "0", "0", "0", "1"]
        assert actors == "Paused actors: letter."
        found = data("queues")
        assert [(each["name"], each["ready"], each["paused"]) for each in found["queues"]] == [
            ("mail", 2, True),
            ("reports", 0, False),
        ]
        assert found["paused_actors"] == ["letter"]

    def test_some_queues_only(self, run: Run, postgres_broker: PostgresBroker) -> None:
        postgres_broker.enqueue_many([message_of("mail"), message_of("reports")])
        code, text = run("queues", "list", "mail")
        assert code == 0
        assert "reports" not in text
        assert "no worker" in text
        assert run("queues", "list", "nothing") == (1, "There is no queue nothing.\n")

    def test_pause_and_resume(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
    ) -> None:
        postgres_broker.enqueue(message_of("mail"))
        assert run("queues", "pause", "mail") == (0, "Queue mail is paused.\n")
        assert run("queues", "pause", "mail.DQ") == (0, "Queue mail was paused already.\n")
        assert run("queues", "resume", "mail") == (0, "Queue mail is resumed.\n")
        assert run("queues", "resume", "mail") == (0, "Queue mail was not paused.\n")
        assert "No message was ever sent to a queue typo." in run("queues", "pause", "typo")[1]
        assert data("queues", "pause", "--actor", "letter", "digest") == {
            "kind": "actor",
            "results": {"letter": "paused", "digest": "paused"},
        }
        assert postgres_broker.get_paused_actors() == {"letter", "digest"}
        assert run("queues", "pause")[0] == 2
        assert run("queues", "stop", "mail")[0] == 2


class TestMessages:
    def test_list_pages_and_filters(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
    ) -> None:
        assert run("messages") == (1, "No message matches.\n")
        sent = postgres_broker.enqueue_many([message_of(actor_name=f"actor{n % 2}") for n in range(5)])
        ids = [message.message_id for message in sent]
        first = data("messages", "--limit", "3")
        assert [each["message_id"] for each in first["messages"]] == ids[:3]
        second = data("messages", "--limit", "3", "--after", first["cursor"])
        assert [each["message_id"] for each in second["messages"]] == ids[3:]
        assert second["cursor"] is None
        assert len(data("messages", "-a", "actor1")["messages"]) == 2
        code, text = run("messages", "--limit", "3", "--state", "queued")
        assert code == 0
        assert text.splitlines()[1].split()[:2] == [ids[0], "queued"]
        assert text.splitlines()[-1] == f"More: --after {first['cursor']}"
        code, text = run("messages", "--after", "nonsense")
        assert (code, text.count("\n")) == (2, 1)
        assert "is no place in this list" in text
        assert run("messages", "--state", "lost")[0] == 2
        assert run("messages", "--limit", "0")[0] == 2

    def test_search(
        self, run: Run, data: Callable[..., Any], queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number, word in enumerate(["one", "50% off"]):
            queue.send_all([queue.new(f'["{word}"]'.encode(), message_id=f"id {number}")])
        assert [each["message_id"] for each in data("messages", "--search", "50%")["messages"]] == ["id 1"]
        assert run("messages", "--search", "nothing like it")[0] == 1
        monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 1)
        monkeypatch.setattr("pgqueue.operations.listing.MOST_SEARCHED", 1)
        code, text = run("messages", "--search", "50%")
        assert (code, "Not all messages were looked at" in text, "--after" in text) == (0, True, True)
        assert run("messages", "purge", "--search", "50%", "--yes")[0] == 0
        assert [each["message_id"] for each in data("messages")["messages"]] == ["id 0"]

    def test_show(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        message = postgres_broker.enqueue(message_of("mail", "letter"))
        code, text = run("messages", "show", message.message_id)
        assert code == 0
        assert "mail, priority 0" in text
        assert "letter(1, to='Ada')" in text
        assert "No worker is alive." in text
        found = data("messages", "show", message.message_id)
        assert found["rows"][0]["message"]["kwargs"] == {"to": "Ada"}
        bury(queue, 7)
        assert "ValueError: bad" in run("messages", "show", "7")[1]
        queue.conn.execute(
            """INSERT INTO pgqueue.attempts
                (failed_at, message_id, lane, slice, kind, actor_name, worker, run_ms, error, traceback, retries)
            VALUES ('2025-01-01', md5('7')::uuid, 1, 0, 'r', 'actor', 'here:1', 70, 'KeyError: 1', 'in earlier', 4)"""
        )
        text = run("messages", "show", "7")[1]
        assert all(part in text for part in ("5, retried", "here:1", "70 ms", "KeyError: 1", "in earlier")), (
            text
        )
        attempts = data("messages", "show", "7")["attempts"]
        assert [(each["state"], each["retries"]) for each in attempts] == [("failed", None), ("retried", 4)]
        assert data("messages", "show", "7")["dead_letters"][0]["reason"] == "failed"
        queue.conn.execute("UPDATE pgqueue.dead_letters SET payload = '\\xff', traceback = 'Traceback: here'")
        text = run("messages", "show", "7")[1]
        assert r"b'\xff'" in text
        assert "Traceback: here" in text
        assert "undecodable" in data("messages", "show", "7")["dead_letters"][0]["message"]
        assert run("messages", "show", "nope")[0] == 1
        assert run("messages", "show") == (2, "pgqueue: Which one? pgqueue messages show ID …\n")

    def test_an_action_says_what_it_found_instead(
        self, run: Run, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        held = postgres_broker.enqueue(message_of()).message_id
        queue.claimed(queue.owner())
        assert run("messages", "delete", held) == (1, f"{held}: a worker holds it; cancel it first\n")
        assert run("messages", "retry", held) == (1, f"{held}: a worker holds it\n")
        assert run("messages", "cancel", "nope") == (1, "nope: no such message\n")
        assert run("messages", "requeue", "nope") == (1, "nope: no dead letter: it is unknown\n")

    def test_actions_on_messages_that_wait(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        one, two = (postgres_broker.enqueue(message_of()) for _ in range(2))
        late = postgres_broker.enqueue(message_of(), delay=3_600_000)
        bury(queue, 7)
        assert run("messages", "cancel", one.message_id) == (0, f"{one.message_id}: cancelled\n")
        assert run("messages", "delete", two.message_id) == (0, f"{two.message_id}: deleted\n")
        assert run("messages", "retry", late.message_id) == (0, f"{late.message_id}: made ready now\n")
        assert run("messages", "retry", late.message_id) == (0, f"{late.message_id}: queued already\n")
        assert run("messages", "requeue", "7") == (0, "7: requeued\n")
        assert data("messages", "retry", "7", "nope") == {
            "results": [
                {"message_id": "7", "result": "queued already", "ok": True},
                {"message_id": "nope", "result": "no such message", "ok": False},
            ]
        }
        assert one.status() is MessageStatus.CANCELLED

    def test_purge_asks_first(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
    ) -> None:
        postgres_broker.enqueue_many([message_of("mail") for _ in range(7)])
        postgres_broker.enqueue(message_of("reports"))
        assert run("messages", "purge")[0] == 2
        assert run("messages", "purge", "-s", "done")[0] == 2
        assert run("messages", "purge", "some id")[0] == 2
        assert run("messages", "purge", "-Q", "nothing", "--yes") == (1, "No message matches.\n")
        code, text = run("messages", "purge", "-Q", "mail")
        assert code == 1
        assert text.endswith("…\n7 messages would be deleted. Nothing is done without --yes.\n")
        assert data("messages", "purge", "-Q", "mail") == {"matched": 7, "complete": True, "deleted": 0}
        assert data("messages", "purge", "-Q", "mail", "--yes") == {
            "matched": 7,
            "complete": True,
            "deleted": 7,
        }
        assert data("messages", "purge", "-Q", "mail", "--yes") == {"matched": 0, "deleted": 0}
        assert postgres_broker.get_queue_message_counts("reports") == (1, 0, 0)


class TestDead:
    def test_groups_and_letters(self, run: Run, data: Callable[..., Any], queue: Queue) -> None:
        assert run("dead") == (1, "There is no dead letter.\n")
        for number in range(3):
            bury(queue, number, error=f"ValueError: {number}\nsecond line")
        bury(queue, 9, error="KeyError: 'x'", queue_name="mail")
        code, text = run("dead")
        assert code == 0
        assert [line.split()[0] for line in text.splitlines()[1:]] == ["3", "1"]
        assert "ValueError: 2 second line" in text
        assert [(each["kind"], each["count"]) for each in data("dead")["groups"]] == [
            ("ValueError", 3),
            ("KeyError", 1),
        ]
        assert len(run("dead", "list", "-e", "valueerror")[1].splitlines()) == 4
        assert [each["message_id"] for each in data("dead", "list", "-Q", "mail")["dead_letters"]] == ["9"]
        assert run("dead", "list", "-a", "nobody else") == (1, "No dead letter matches.\n")
        assert run("dead", "show", "9")[0] == 0
        assert run("dead", "show")[0] == 2
        assert run("dead", "list", "9")[0] == 2

    def test_requeue_and_purge_by_id(self, run: Run, data: Callable[..., Any], queue: Queue) -> None:
        for number in range(3):
            bury(queue, number)
        assert run("dead", "requeue", "0") == (0, "0: requeued\n")
        assert run("dead", "requeue", "0") == (1, "0: no dead letter: it is queued already\n")
        assert run("dead", "purge", "1") == (0, "1: purged\n")
        assert data("dead", "purge", "1", "2")["results"] == [
            {"message_id": "1", "result": "no dead letter: it is unknown", "ok": False},
            {"message_id": "2", "result": "purged", "ok": True},
        ]

    def test_requeue_and_purge_all_that_match(self, run: Run, data: Callable[..., Any], queue: Queue) -> None:
        for number in range(7):
            bury(queue, number, error="KeyError: 'x'" if number < 4 else "ValueError: y")
        assert run("dead", "requeue")[0] == 2
        assert run("dead", "requeue", "1", "--all")[0] == 2
        code, text = run("dead", "requeue", "-e", "keyerror")
        assert code == 1
        assert "nobody(3)  KeyError: 'x'" in text
        assert text.endswith("4 dead letters would be requeued. Nothing is done without --yes.\n")
        assert run("dead", "requeue", "-e", "keyerror", "--yes")[1].endswith("4 dead letters requeued.\n")
        assert data("dead", "purge", "--all", "--yes") == {"matched": 3, "complete": True, "purged": 3}
        assert run("dead", "purge", "--all", "--yes") == (1, "No dead letter matches.\n")
        assert len(queue.claimed(queue.owner())) == 4
