"""What the page for Dramatiq's users says is so, beside Dramatiq itself."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker as StubBrokerOfOld

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor
from tests.support.processes import ROOT

from .pages import blocks_of, page, run_python, sections

PAGE = page("from-dramatiq.md")

WITH_PYTHON = [
    title for title, blocks in sections(PAGE).items() if any(block.language == "python" for block in blocks)
]

#: Uses what Dramatiq has, and prints what came of it.
PROGRAM = Path(__file__).with_name("program_for_both.py")


@pytest.fixture
def broker_of_old(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubBrokerOfOld]:
    """Dramatiq's broker; its workers are started with ours."""
    broker = StubBrokerOfOld()
    broker.emit_after("process_boot")
    monkeypatch.setattr(sys.modules["dramatiq.broker"], "global_broker", broker)
    yield broker
    broker.flush_all()
    broker.close()


@pytest.fixture
def workers_of_old() -> Iterator[list[dramatiq.Worker]]:
    started: list[dramatiq.Worker] = []
    yield started
    for worker in started:
        worker.stop()


@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(
    title: str,
    broker_of_old: StubBrokerOfOld,
    workers_of_old: list[dramatiq.Worker],
    postgres_broker: PostgresBroker,
    database_url: str,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)

    def start_workers() -> None:
        worker = dramatiq.Worker(broker_of_old, worker_timeout=50, worker_threads=1)
        workers_of_old.append(worker)
        worker.start()
        worker_for(pgqueue.get_broker(), worker_threads=2)

    run_python(blocks_of(PAGE, title, "python"), path=PAGE, start_workers=start_workers)


def test_what_could_not_be_passed_on_stays_with_the_old_broker(
    broker_of_old: StubBrokerOfOld,
    workers_of_old: list[dramatiq.Worker],
    stub_broker: pgqueue.Broker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = run_python(blocks_of(PAGE, "Moving over what waits", "python")[:1], path=PAGE)
    failures = [pgqueue.ConnectionClosed("gone"), pgqueue.ConnectionClosed("gone")]
    enqueue, passed_on = stub_broker.enqueue, []

    def flaky(message: pgqueue.Message[None], *, delay: int | None = None) -> pgqueue.Message[None]:
        if failures:
            raise failures.pop()
        passed_on.append(message.message_id)
        return enqueue(message, delay=delay)

    monkeypatch.setattr(stub_broker, "enqueue", flaky)
    stub_broker.declare_queue("default")
    actor = dramatiq.actor(actor_name="note", min_backoff=1, max_backoff=1)(names["PassOn"])
    sent = actor.send()
    worker = dramatiq.Worker(broker_of_old, worker_timeout=50, worker_threads=1)
    workers_of_old.append(worker)
    worker.start()
    broker_of_old.join("default", timeout=15_000)
    assert passed_on == [sent.message_id]


def test_every_section_is_in_the_contents() -> None:
    text = PAGE.read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in text] == []


def test_a_program_does_the_same_under_both_names(tmp_path: Path) -> None:
    source = PROGRAM.read_text()
    outputs = []
    for name in ("dramatiq", "pgqueue"):
        program = tmp_path / f"{name}_program.py"
        program.write_text(source.replace("dramatiq", name))
        done = subprocess.run(
            [sys.executable, str(program)],
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.replace("dramatiq", "pgqueue").splitlines())
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 40
