"""``pgqueue workers``, ``why``, ``doctor`` and ``top``; and all commands of operators in trouble and on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pgqueue import schema
from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.processes import ROOT, ended
from tests.support.queue import Queue

from .conftest import Run, message_of


class TestWorkers:
    def test_nobody(self, run: Run) -> None:
        assert run("workers") == (1, "There is no worker.\n")
        assert run("workers", "host") == (1, "There is no worker host.\n")

    def test_what_each_is_running(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        gate = threading.Event()

        @actor(queue_name="mail")
        def letter() -> None:
            gate.wait(20.0)

        worker_for(postgres_broker, worker_threads=2)
        message = letter.send()

        def look() -> Any:
            (worker,) = data("workers")["workers"]
            assert [each["message_id"] for each in worker["running"]] == [message.message_id]
            return worker

        worker = eventually(look, within_s=10.0)
        assert (worker["pid"], worker["threads"], worker["alive"]) == (os.getpid(), 2, True)
        assert (worker["queues"], worker["actors"]) == (["mail"], ["letter"])
        code, text = run("workers")
        assert code == 0
        assert "letter" in text.splitlines()[1]
        assert message.message_id in run("workers", str(os.getpid()))[1]
        gate.set()

    def test_a_silent_one_is_not_alive(self, run: Run, data: Callable[..., Any], queue: Queue) -> None:
        queue.owner()
        assert run("workers")[0] == 0
        assert "not said" in run("workers", "here")[1]
        queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '1 minute'")
        assert run("workers")[0] == 1
        assert data("workers")["workers"][0]["alive"] is False


class TestWhy:
    def test_it_tells_the_reasons_and_the_remedy(
        self, run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
    ) -> None:
        message = postgres_broker.enqueue(message_of("mail"))
        postgres_broker.pause_queue("mail")
        code, text = run("why", message.message_id)
        assert code == 0
        assert text.splitlines()[0] == f"{message.message_id} is queued"
        assert "Queue 'mail' has been paused for" in text
        assert text.splitlines()[-1] == "  → pgqueue queues resume mail"
        assert data("why", message.message_id)["remedy"] == "pgqueue queues resume mail"

    @pytest.mark.parametrize("id_", ["nope", "", "a b", "'; DROP TABLE pgqueue.messages", "\N{SNOWMAN}"])
    def test_an_unknown_id(self, run: Run, data: Callable[..., Any], id_: str) -> None:
        code, text = run("why", id_)
        assert code == 1
        assert "No message of this id is known." in text
        assert data("why", id_)["status"] == "unknown"


class TestDoctor:
    def test_verdicts_and_exit_codes(
        self, run: Run, data: Callable[..., Any], queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgqueue.operations.checking._settings", lambda _: iter(()))
        code, text = run("doctor")
        assert code == 0
        assert "ok       schema: pgqueue_" in text
        assert "warning  workers: no worker is alive\n  → pgqueue MODULE" in text
        assert run("doctor", "--strict")[0] == 1
        queue.send("x")
        assert run("doctor")[0] == 1
        assert {each["name"]: each["verdict"] for each in data("doctor")["checks"]}["workers"] == "failure"

    def test_a_schema_that_is_missing(self, run: Run, empty_database_url: str) -> None:
        code, text = run("doctor", "--url", empty_database_url)
        assert code == 1
        assert text.endswith("  → pgqueue migrate\n")


COMMANDS = [
    ["queues"], ["queues", "pause", "x"], ["messages"], ["messages", "show", "x"], ["messages", "cancel", "x"],
    ["dead"], ["dead", "purge", "--all"], ["workers"], ["why", "x"], ["top", "--count", "1"],
]  # fmt: skip


class TestTrouble:
    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_a_database_that_is_down_is_one_line(self, run: Run, words: list[str]) -> None:
        code, text = run(*words, "--url", "postgresql://user:secret@127.0.0.1:1/x?connect_timeout=2")
        assert (code, text.count("\n")) == (3, 1)
        assert text.startswith("pgqueue: Can't use postgresql://user:***@127.0.0.1:1/x")

    def test_the_doctor_says_that_it_is_down(self, run: Run) -> None:
        code, text = run("doctor", "--url", "postgresql://127.0.0.1:1/x?connect_timeout=2")
        assert code == 3
        assert text.startswith("failure  reachable: Can't use")

    @pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
    def test_a_schema_that_is_missing_is_one_line(
        self, run: Run, empty_database_url: str, words: list[str]
    ) -> None:
        code, text = run(*words, "--url", empty_database_url)
        assert (code, text.count("\n")) == (2, 1)
        assert "Run `pgqueue migrate`" in text

    def test_a_schema_that_is_too_old_is_one_line(self, run: Run, empty_database_url: str) -> None:
        schema.upgrade(empty_database_url, revision="pgqueue_0003")
        code, text = run("queues", "--url", empty_database_url)
        assert (code, text.count("\n")) == (2, 1)
        assert "schema is at pgqueue_0003, but this release needs" in text

    def test_a_statement_that_takes_too_long_is_one_line(
        self, run: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgqueue.storage.database.STATEMENT_TIMEOUT_S", 0.2)
        with queue.connect() as holder, holder.transaction():
            holder.execute("LOCK TABLE pgqueue.lanes")
            code, text = run("queues")
        assert (code, text.count("\n")) == (2, 1)
        assert "took longer than 0.2 s" in text

    def test_no_database_is_named(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PGQUEUE_URL")
        monkeypatch.delenv("DATABASE_URL", raising=False)
        code, text = run("queues")
        assert code == 2
        assert "There is no database URL." in text


class TestRealProcesses:
    @pytest.fixture
    def environment(self, database_url: str) -> dict[str, str]:
        return {
            **os.environ, "PGQUEUE_URL": database_url, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "70",
            "PYTHONWARNINGS": "error::ResourceWarning",
        }  # fmt: skip

    def test_a_reader_that_has_seen_enough(
        self, environment: dict[str, str], postgres_broker: PostgresBroker
    ) -> None:
        postgres_broker.enqueue_many([message_of() for _ in range(5_000)])
        words = [sys.executable, "-m", "pgqueue", "messages", "--limit", "5000"]
        with ended(
            subprocess.Popen(
                words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline().startswith("id")
            process.stdout.close()
            assert process.stderr.read() == ""
            assert process.wait(30.0) == 0

    def on_terminal(self, environment: dict[str, str], *words: str, answer: str = "") -> tuple[int, str]:
        master, slave = pty.openpty()
        with ended(
            subprocess.Popen(
                [sys.executable, "-m", "pgqueue", *words],
                env=environment,
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
        ) as process:
            os.close(slave)
            os.write(master, answer.encode())
            shown = b""
            try:
                while part := os.read(master, 65_536):
                    shown += part
            except OSError:  # how Linux says that the other end is closed
                pass
            code = process.wait(30.0)
        os.close(master)
        return code, shown.decode()

    def test_a_narrow_terminal_shows_fewer_columns(
        self, environment: dict[str, str], postgres_broker: PostgresBroker
    ) -> None:
        message = postgres_broker.enqueue(message_of())
        code, shown = self.on_terminal(environment, "messages")
        assert code == 0
        assert message.message_id in shown
        assert "\x1b[" in shown
        assert "Too narrow for: " in shown

    def test_a_purge_that_is_declined_or_agreed_to(
        self, environment: dict[str, str], postgres_broker: PostgresBroker
    ) -> None:
        postgres_broker.enqueue_many([message_of() for _ in range(3)])
        code, shown = self.on_terminal(environment, "messages", "purge", "-Q", "default", answer="\n")
        assert (code, "Nothing is done." in shown) == (1, True)
        code, shown = self.on_terminal(environment, "messages", "purge", "-Q", "default", answer="y\n")
        assert (code, "3 messages deleted." in shown) == (0, True)

    def test_ctrl_c_leaves_top_in_peace(
        self, environment: dict[str, str], postgres_broker: PostgresBroker
    ) -> None:
        master, slave = pty.openpty()
        words = [sys.executable, "-m", "pgqueue", "top", "--interval", "0.1"]
        with ended(
            subprocess.Popen(words, env=environment, stdin=slave, stdout=slave, stderr=slave)
        ) as process:
            os.close(slave)
            shown = b""
            while b"workers with" not in shown:
                shown += os.read(master, 65_536)
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(OSError):
                while part := os.read(master, 65_536):
                    shown += part
            assert process.wait(30.0) == 0
        os.close(master)
        assert b"Traceback" not in shown

    def test_top_draws_queues_and_workers(
        self, environment: dict[str, str], postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        postgres_broker.enqueue(message_of("mail"))
        queue.owner()
        # However long the command takes to start, the worker has not been silent for long.
        queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() + interval '1 minute'")
        code, shown = self.on_terminal(environment, "top", "--count", "2", "--interval", "0.1")
        assert code == 0
        assert "1 worker with 2 threads, 0 messages a second" in shown
        assert "mail" in shown
        assert "here:1" in shown


def test_top_prints_a_frame_into_a_pipe(
    run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
) -> None:
    postgres_broker.enqueue(message_of("mail"))
    code, text = run("top", "--count", "2", "--interval", "0.1")
    assert code == 0
    assert text.count("0 workers with 0 threads") == 2
    assert data("top", "--count", "1")["queues"][0]["name"] == "mail"
    assert run("top", "--interval", "never")[0] == 2
