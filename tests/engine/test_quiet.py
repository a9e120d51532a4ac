"""Beside a flood, quiet queues are heard: their senders tell, and what they send is claimed before there is room."""

from collections.abc import Iterator

import psycopg
import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import quiet
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.intake import Intake
from pgqueue.engine.leases import Leases
from pgqueue.engine.prefetch import FixedPrefetch
from pgqueue.engine.quiet import RATE, QuietQueues
from pgqueue.errors import ServerOutOfMemory
from pgqueue.storage import registers
from pgqueue.storage.messages import ClaimedMessage
from pgqueue.storage.registers import IDLE_REGISTERS, idle_cell

from ..support.queue import Queue


class Clock:
    """Stands for the module time."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(quiet, "time", made)
    return made


#: Whose lanes are whose.
NAMES = {1: "flood", 2: "steady", 3: "mail"}


class TestWhichAreQuiet:
    def test_those_of_which_little_was_claimed_and_nothing_is_left(self, clock: Clock) -> None:
        queues = QuietQueues()
        assert not queues.due()
        clock.now += 1.0
        assert queues.due()
        queues.count([1] * 20 + [2] * int(RATE + 1) + [3] * int(RATE), NAMES)
        assert queues.take(["flood", "steady", "mail"], busy=["flood"]) == ["mail"]
        assert not queues.due()

    def test_what_was_claimed_before_counts_no_more(self, clock: Clock) -> None:
        queues = QuietQueues()
        queues.count([2] * 1_000, NAMES)
        clock.now += 1.0
        assert queues.take(["steady"], busy=[]) == []
        clock.now += 1.0
        assert queues.take(["steady"], busy=[]) == ["steady"]

    def test_none_that_shares_its_register_with_a_busy_one(self) -> None:
        other = next(
            name
            for number in range(50 * IDLE_REGISTERS)
            if idle_cell(name := f"queue-{number}") == idle_cell("flood")
        )
        assert QuietQueues().take([other, "mail"], busy=["flood"]) == [other, "mail"]
        assert QuietQueues().take([other, "mail", "flood"], busy=["flood"]) == ["mail"]

    def test_calls_are_heard_while_senders_tell_and_not_too_often(self, clock: Clock) -> None:
        queues = QuietQueues()
        assert not queues.may_have_called()
        assert queues.take(["flood"], busy=["flood"]) == []
        assert not queues.may_have_called()
        queues.take(["mail"], busy=[])
        assert queues.may_have_called()
        assert not queues.may_have_called()
        clock.now += quiet.SPACING_S
        assert queues.may_have_called()
        clock.now += 1.5
        assert not queues.may_have_called()

    def test_calls_for_nothing_are_heard_less_and_less_until_one_was_for_something(
        self, clock: Clock
    ) -> None:
        queues = QuietQueues()
        queues.take(["mail"], busy=[])
        waits = []
        for number in [0] * 6 + [1, 0]:
            called_at = clock.now
            assert queues.may_have_called()
            queues.found(number)
            while not queues.may_have_called():
                clock.now += 0.001
                queues.take(["mail"], busy=[])
            waits.append(round(clock.now - called_at, 3))
            clock.now += 0.1
        assert waits == pytest.approx([0.003, 0.006, 0.012, 0.024, 0.048, 0.048, 0.048, 0.003], abs=0.0015)


@pytest.fixture
def fetcher(queue: Queue, leases: Leases, clock: Clock) -> Iterator[Fetcher]:
    made = Fetcher(queue.database, leases, ["default", "mail"], need_name=lambda: None)
    yield made
    made.close()


def payloads(messages: list[ClaimedMessage]) -> list[str]:
    return [message.payload.decode() for message in messages]


def tells(queue: Queue, queue_name: str) -> bool:
    """Whether senders to a queue would notify."""
    return bool(
        queue.value(
            f"SELECT coalesce(pg_sequence_last_value('pgqueue.idle_{idle_cell(queue_name)}'::regclass), 0)"
            " > extract(epoch FROM clock_timestamp()) * 1000"
        )
    )


def flooded(queue: Queue, fetcher: Fetcher, clock: Clock) -> None:
    """Have a fetcher claim a few of many, for the last time after a while."""
    queue.lane("mail")
    queue.send(*(f"flood {number}" for number in range(50)))
    for _ in range(4):  # in two of these the queues take turns at being first
        assert len(fetcher.fetch(2)) == 2
    assert not tells(queue, "mail")
    clock.now += 1.0
    assert len(fetcher.fetch(2)) == 2


def test_senders_to_a_quiet_queue_tell_those_of_the_flood_do_not(
    queue: Queue, fetcher: Fetcher, clock: Clock
) -> None:
    flooded(queue, fetcher, clock)
    assert tells(queue, "mail")
    assert not tells(queue, "default")


def test_nothing_is_claimed_if_senders_can_not_be_asked(
    queue: Queue, fetcher: Fetcher, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else what the claim had taken would be with nobody."""
    flooded(queue, fetcher, clock)
    clock.now += 1.0
    before = queue.value("SELECT count(*) FROM pgqueue.ready")

    def fail(*_: object, idle: object = (), **__: object) -> None:
        raise psycopg.errors.OutOfMemory("out of shared memory")

    monkeypatch.setattr(registers, "read", fail)
    with pytest.raises(ServerOutOfMemory):
        fetcher.fetch(5)
    assert queue.value("SELECT count(*) FROM pgqueue.ready") == before


def test_a_quiet_queue_is_claimed_from_by_itself(queue: Queue, fetcher: Fetcher, clock: Clock) -> None:
    assert fetcher.fetch_quiet(8) == []  # nobody has been asked
    flooded(queue, fetcher, clock)
    queue.send("mail 1", "mail 2", "mail 3", queue_name="mail")
    assert payloads(fetcher.fetch_quiet(0)) == []
    assert payloads(fetcher.fetch_quiet(2)) == ["mail 1", "mail 2"]
    assert payloads(fetcher.fetch_quiet(2)) == []  # so soon after the last
    clock.now += 0.1
    assert payloads(fetcher.fetch_quiet(2)) == ["mail 3"]
    queue.send("mail 4", queue_name="mail")
    # Nothing of the flood was passed over, and nothing is claimed twice.
    rest = payloads(fetcher.fetch(100))
    assert sorted(rest) == sorted(["mail 4", *(f"flood {number}" for number in range(10, 50))])
    clock.now += 0.1
    assert fetcher.fetch_quiet(8) == []  # there is no flood


def test_a_queue_of_less_priority_than_the_flood_is_none_of_these(
    queue: Queue, fetcher: Fetcher, clock: Clock
) -> None:
    queue.lane("mail", 7)
    flooded(queue, fetcher, clock)
    queue.send("mail", queue_name="mail", priority=7)
    assert fetcher.fetch_quiet(8) == []


@pytest.mark.parametrize("heard", [True, False])
def test_a_message_of_a_quiet_queue_is_had_while_all_hands_are_full(
    postgres_broker: PostgresBroker, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Unless the user has said how much is claimed."""
    if heard:
        monkeypatch.setattr(FixedPrefetch, "more", lambda *_: 2)
    session = postgres_broker._join_session(2)
    intake = Intake(session, ["default", "mail"], prefetch=4, threads=2)
    try:
        queue.lane("mail")
        queue.send(*(f"flood {number}" for number in range(50)))
        for _ in range(4):
            assert None not in [intake.next(5.0) for _ in range(4)]
            assert intake.next(0.05) is None
            clock.now += 0.3
            intake.settled(4)
        assert None not in [intake.next(5.0) for _ in range(4)]
        assert intake.next(0.05) is None
        assert tells(queue, "mail")
        queue.send("mail", queue_name="mail")
        intake.wake()
        found = intake.next(1.0 if heard else 0.05)
        assert (found.payload.decode() if found else None) == ("mail" if heard else None)
    finally:
        intake.close()
        postgres_broker._leave_session()
