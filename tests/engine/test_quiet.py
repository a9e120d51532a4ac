"""Beside a flood, quiet queues are heard: their senders tell, and what they send is claimed before there is room."""

import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import fetcher as fetcher_module, intake as intake_module, quiet
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.intake import Intake
from pgqueue.engine.leases import Leases
from pgqueue.engine.prefetch import AdaptivePrefetch
from pgqueue.engine.quiet import FLEET
from pgqueue.errors import DatabaseUnavailable, ServerOutOfMemory
from pgqueue.storage import registers, workers
from pgqueue.storage.messages import ClaimedMessage
from pgqueue.storage.registers import IDLE_REGISTERS, idle_cell

from ..support.queue import Queue


class Clock:
    """Stands for the module time: as that is, and ahead of it by what is added."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (quiet, fetcher_module, intake_module):
        monkeypatch.setattr(module, "time", made)
    return made


MAIL = idle_cell("mail")


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
    clock.ahead += 1.0
    assert len(fetcher.fetch(2)) == 2


def test_senders_to_a_quiet_queue_tell_those_of_the_flood_do_not(
    queue: Queue, fetcher: Fetcher, clock: Clock
) -> None:
    flooded(queue, fetcher, clock)
    assert tells(queue, "mail")
    assert not tells(queue, "default")


@pytest.mark.parametrize("turns", [0, 1])
def test_one_that_the_last_claim_did_not_come_to_is_quiet_for_all_that(
    queue: Queue, fetcher: Fetcher, clock: Clock, turns: int
) -> None:
    """By its turn the flooded one was before it, and by then nothing was known of either."""
    queue.lane("mail")
    queue.send("of a flood to come")
    for _ in range(turns):
        fetcher.fetch(10)
    queue.send(*(f"flood {number}" for number in range(50)))
    clock.ahead += 1.0
    for _ in range(2):
        fetcher.fetch(2)
    clock.ahead += 1.0
    fetcher.fetch(100)  # the end of all, seen since the senders were last asked
    queue.send(*(f"flood {number}" for number in range(50)))
    fetcher.fetch(2)
    queue.value(f"SELECT setval('pgqueue.idle_{MAIL}', 1)")
    clock.ahead += 1.0
    fetcher.fetch(2)
    assert tells(queue, "mail")


def test_nothing_is_claimed_if_senders_can_not_be_asked(
    queue: Queue, fetcher: Fetcher, leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else what the claim had taken would be with nobody."""
    flooded(queue, fetcher, clock)
    clock.ahead += 1.0
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
    assert payloads(fetcher.fetch_quiet(2)) == []  # nobody has called
    fetcher.called(MAIL)
    assert payloads(fetcher.fetch_quiet(0)) == []
    assert payloads(fetcher.fetch_quiet(2)) == ["mail 1", "mail 2"]
    assert fetcher.quiet_at(claims=True) > clock.monotonic()  # not so soon after the last
    clock.ahead += 0.1
    assert payloads(fetcher.fetch_quiet(2)) == [
        "mail 3"
    ]  # without a call, for there were as many as could be taken
    queue.send("mail 4", queue_name="mail")
    # Nothing of the flood was passed over, and nothing is claimed twice.
    rest = payloads(fetcher.fetch(100))
    assert sorted(rest) == sorted(["mail 4", *(f"flood {number}" for number in range(10, 50))])
    clock.ahead += 0.1
    fetcher.called(MAIL)
    assert fetcher.fetch_quiet(8) == []  # there is no flood


def test_senders_are_asked_as_long_as_there_is_no_room(queue: Queue, fetcher: Fetcher, clock: Clock) -> None:
    """Of jobs that take seconds nothing is claimed for as long, and the word holds for a second and a half."""
    flooded(queue, fetcher, clock)
    queue.value(f"SELECT setval('pgqueue.idle_{MAIL}', 1)")
    clock.ahead += 1.0
    assert fetcher.fetch_quiet(0) == []
    assert tells(queue, "mail")


def test_what_is_of_later_priority_than_the_flood_waits_and_its_queue_is_quiet_for_all_that(
    queue: Queue, fetcher: Fetcher, clock: Clock
) -> None:
    queue.lane("mail", 7)
    flooded(queue, fetcher, clock)
    assert tells(queue, "mail")
    queue.send("later", queue_name="mail", priority=7)
    queue.send("mail", queue_name="mail")
    fetcher.called(MAIL)
    assert payloads(fetcher.fetch_quiet(8)) == ["mail"]


def test_a_queue_of_nothing_but_later_priority_is_not_asked_for(
    queue: Queue, fetcher: Fetcher, clock: Clock
) -> None:
    queue.lane("mail", 7)
    queue.send(*(f"flood {number}" for number in range(50)))
    for _ in range(2):
        clock.ahead += 1.0
        assert len(fetcher.fetch(2)) == 2
    assert not tells(queue, "mail")


@pytest.mark.parametrize(("processes", "asked"), [(FLEET, True), (FLEET + 1, False)])
def test_senders_are_not_asked_by_many_processes(
    queue: Queue, fetcher: Fetcher, clock: Clock, processes: int, asked: bool
) -> None:
    def register(pid: int) -> UUID:
        owner = uuid4()
        workers.register(queue.conn, queue.statements, owner=owner, host="here", pid=pid, threads=1)
        return owner

    for pid in range(processes):
        register(pid), register(pid)  # a process may be registered under several names
    for pid in range(100, 110):
        silence = (
            "UPDATE pgqueue.workers SET seen_at = now() - interval '1 minute' WHERE owner = %s RETURNING 1"
        )
        queue.value(silence, register(pid))
    flooded(queue, fetcher, clock)
    assert tells(queue, "mail") is asked


def test_nobody_is_asked_for_whom_nothing_is_claimed_beyond_the_prefetch(
    queue: Queue, leases: Leases, clock: Clock
) -> None:
    fetcher = Fetcher(queue.database, leases, ["default", "mail"], need_name=lambda: None, hears_quiet=False)
    try:
        flooded(queue, fetcher, clock)
        assert not tells(queue, "mail")
        assert fetcher.quiet_at(claims=True) == float("inf")
    finally:
        fetcher.close()


class TestIntake:
    @pytest.fixture
    def intake(
        self, postgres_broker: PostgresBroker, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Intake]:
        """One that has its hands full of a flood, four messages, and has had senders of mail called."""
        monkeypatch.setattr(AdaptivePrefetch, "settled", lambda *_: None)
        made = Intake(postgres_broker._join_session(2), ["default", "mail"], prefetch=None, threads=2)
        try:
            queue.lane("mail")
            queue.send(*(f"flood {number}" for number in range(50)))
            for _ in range(4):
                assert None not in [made.next(5.0) for _ in range(4)]
                assert made.next(0.05) is None
                made.settled(4)
            clock.ahead += 1.0
            assert None not in [made.next(5.0) for _ in range(4)]
            assert made.next(0.05) is None
            yield made
        finally:
            made.close()
            postgres_broker._leave_session()

    def test_a_message_of_a_quiet_queue_is_had_while_all_hands_are_full(
        self, queue: Queue, intake: Intake
    ) -> None:
        assert tells(queue, "mail")
        queue.send("mail", queue_name="mail")  # the listener hears of it
        found = intake.next(30.0)
        assert found is not None
        assert found.payload == b"mail"

    def test_one_that_ends_makes_room_for_one_that_was_called_for(self, queue: Queue, intake: Intake) -> None:
        queue.send("mail 1", "mail 2", "mail 3", queue_name="mail")
        assert [message and message.payload for message in (intake.next(30.0), intake.next(30.0))] == [
            b"mail 1", b"mail 2",
        ]  # fmt: skip
        assert intake.next(0.05) is None
        intake._event.clear()
        intake.settled()
        assert intake._event.is_set()
        found = intake.next(30.0)
        assert found is not None
        assert found.payload == b"mail 3"

    def test_there_is_nothing_to_do_without_a_name_to_claim_under(self, clock: Clock, intake: Intake) -> None:
        clock.ahead += 1.0
        assert intake._fetcher.quiet_at(claims=False) < clock.monotonic()
        intake._session.leases.renounce()
        assert intake._fetcher.quiet_at(claims=True) == float("inf")

    def test_senders_are_asked_again_soon_after_that_has_failed(
        self, clock: Clock, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def fail(limit: int) -> None:
            asked.append(limit)
            raise DatabaseUnavailable("gone")

        monkeypatch.setattr(intake._fetcher, "fetch_quiet", fail)
        clock.ahead += 1.0
        assert intake.next(0.5) is None
        assert len(asked) > 1

    def test_a_call_for_others_queues_is_none(self, intake: Intake) -> None:
        claims: list[int] = []
        intake._fetcher.called = claims.append  # type: ignore[assignment, method-assign]
        other = next(cell for cell in range(IDLE_REGISTERS) if cell not in {MAIL, idle_cell("default")})
        intake.wake(other)
        assert claims == []
        intake.wake(MAIL)
        assert claims == [MAIL]

    def test_no_more_than_one_a_thread_before_a_limited_queue_is_looked_at(
        self, queue: Queue, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake._fetcher.limits, "due", lambda: ["limited"])
        for number in range(6):
            queue.send(f"mail {number}", queue_name="mail")
        intake.wake(MAIL)
        found = [message for _ in range(6) if (message := intake.next(0.1)) is not None]
        assert [message.payload for message in found] == [b"mail 0", b"mail 1"]
        # Nor do others that end make room for more, before a thread is free for the limited queue.
        intake.settled(2)
        intake.wake(MAIL)
        assert intake.next(0.1) is None

    def test_what_was_claimed_of_limited_queues_is_had_though_the_others_claim_fails(
        self, queue: Queue, intake: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [message] = queue.claimed(intake._session.leases.current() or uuid4(), limit=1)

        brought = [message]

        def fail(*_: object) -> None:
            raise DatabaseUnavailable("gone")

        intake.settled(4)
        monkeypatch.setattr(intake._fetcher, "fetch_limited", lambda _: [brought.pop()] if brought else [])
        monkeypatch.setattr(intake._fetcher, "fetch", fail)
        assert intake.next(5.0) is message
