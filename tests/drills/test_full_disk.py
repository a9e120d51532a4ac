"""The server's disk is full under load: that of the tables, and that of the write-ahead log as well."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from pgqueue import embedded, schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import DiskFull
from pgqueue.operations.checking import check
from tests.support.eventually import eventually
from tests.support.small_disk import SmallDisk, small_disk

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

#: Of the disk, and of the log, which is kept small so that it needs new room soon.
MEGABYTES = 160
SETTINGS = {"shared_buffers": "32MB", "min_wal_size": "32MB", "max_wal_size": "48MB"}


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    """A disk for a server."""
    with small_disk(MEGABYTES) as mounted:
        yield mounted


@pytest.fixture
def server(disk: SmallDisk) -> Iterator[embedded.Server]:
    """A durable server on it."""
    with start(disk) as started:
        schema.upgrade(started.url)
        yield started


def start(disk: SmallDisk) -> embedded.Server:
    """Start the server, or find that it runs."""
    return embedded.start(disk.place / "server", durable=True, settings=SETTINGS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_full_disk(
    server: embedded.Server, disk: SmallDisk, ledger: Ledger, dice: random.Random, scale: Scale,
    report: Callable[..., None],
) -> None:  # fmt: skip
    """Senders are told, nothing that was confirmed is lost, and workers go on when there is room."""
    rounds, back = scale(1, 10), []
    with contextlib.ExitStack() as servers, Fleet(server.url, ledger) as fleet:
        fleet.start(2)
        with Load(server.url, ledger, dice, rate=300) as load:
            for number in range(rounds):
                time.sleep(dice.uniform(0.3, scale(1, 4)))
                fill_until_refused(disk, load)
                assert number or finds_it(server.url)
                if number % 2:
                    exhaust_log(server.url, ledger)
                time.sleep(dice.uniform(0.2, scale(1, 5)))
                disk.free()
                if number % 2:
                    # A server without room for its log has ended, and is started again by whoever made room.
                    servers.enter_context(start(disk))
                back.append(takes_messages_again(server.url, ledger))
                if number % 2:
                    ledger.write("crash")
        wait_until_drained(server.url, ledger, within_s=60.0)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        assert "Traceback" not in fleet.output, fleet.output
    report(
        examine(server.url, ledger, charged_by_guess=rounds > 1), rounds=rounds, **load.refusals,
        back_after_s=round(max(back), 2),
    )  # fmt: skip
    assert load.refusals["DiskFull"]


def fill_until_refused(disk: SmallDisk, load: Load) -> None:
    """Fill the disk until a sender is told."""
    before = load.failures

    def look() -> None:
        disk.fill()
        assert load.failures > before

    eventually(look, within_s=30.0)


def finds_it(url: str) -> bool:
    """Whether a sender hears what is the matter, and the doctor, too."""
    broker = PostgresBroker(url)
    try:
        with pytest.raises(DiskFull, match=r"is full: could not .* Free space there"):
            broker.enqueue_many([message("quick", number, text="x" * 8_000) for number in range(100)])
        return any(one.name == "disk" and one.verdict == "failure" for one in check(broker.database))
    finally:
        broker.close()


def exhaust_log(url: str, ledger: Ledger) -> None:
    """Use the room up that the log has in advance: the server stops for want of more."""
    ledger.write("crash")
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as conn:
        for _ in range(10):
            conn.execute("SELECT pg_logical_emit_message(true, 'drill', repeat('x', 4000000))")
            conn.execute("SELECT pg_switch_wal()")


def takes_messages_again(url: str, ledger: Ledger) -> float:
    """Wait until a message can be sent; return how long that took."""
    began, broker = time.monotonic(), PostgresBroker(url)
    one = message("quick", 0)

    def look() -> None:
        try:
            broker.enqueue(one)
        except Exception as error:
            raise AssertionError(str(error)) from error

    eventually(look, within_s=60.0)
    ledger.write("sent", one.message_id)
    broker.close()
    return time.monotonic() - began
