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
from pgqueue.engine.quiet import FLEET, LONGEST_REST_S, RATE, QuietQueues
from pgqueue.errors import ServerOutOfMemory
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


class StandingClock(Clock):
    """One that moves only when it is told to."""

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    made = StandingClock()
    monkeypatch.setattr(quiet, "time", made)
    return made


#: A queue that shares its register with "flood".
NEIGHBOUR = next(
    name
    for number in range(50 * IDLE_REGISTERS)
    if idle_cell(name := f"queue-{number}") == idle_cell("flood")
)
MAIL = idle_cell("mail")


class TestWhichAreQuiet:
    def test_those_of_which_little_was_claimed_and_nothing_is_left(self, standing: StandingClock) -> None:
        queues = QuietQueues()
        assert standing.monotonic() < queues.due_at() < standing.monotonic() + 1.0
        standing.ahead += 1.0
        assert queues.due_at() < standing.monotonic()
        queues.count(["flood"] * 20 + ["steady"] * int(RATE + 1) + ["mail"] * int(RATE))
        assert queues.take(["flood", "steady", "mail"], busy=["flood"]) == ["mail"]
        assert queues.due_at() > standing.monotonic()

    def test_what_was_claimed_before_counts_no_more(self, standing: StandingClock) -> None:
        queues = QuietQueues()
        queues.count(["steady"] * 1_000)
        standing.ahead += 1.0
        assert queues.take(["steady"], busy=[]) == []
        standing.ahead += 1.0
        assert queues.take(["steady"], busy=[]) == ["steady"]

    def test_none_that_shares_its_register_with_a_busy_one(self) -> None:
        assert QuietQueues().take([NEIGHBOUR, "mail"], busy=["flood"]) == [NEIGHBOUR, "mail"]
        assert QuietQueues().take([NEIGHBOUR, "mail", "flood"], busy=["flood"]) == ["mail"]

    def test_none_for_which_all_processes_together_are_called_too_often(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        for number, expected in ((RATE, ["mail"]), (RATE + 1, [])):
            standing.ahead += 1.0
            for _ in range(int(number)):
                queues.called(MAIL)
            assert queues.take(["mail"], busy=[]) == expected

    def test_those_are_asked_again_after_rests_that_grow_until_it_was_calm(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        rests = []
        for loud in [True] * 8 + [False, True]:
            standing.ahead += 1.0
            for _ in range(1_000 if loud else 0):
                queues.called(MAIL)
            rest = 0
            while not queues.take(["mail"], busy=[]):
                standing.ahead += 1.0
                rest += 1
            rests.append(rest)
        grown = [0.9 * 2**number for number in range(8)]
        for rest, least in zip(
            rests, [*(min(each, LONGEST_REST_S) for each in grown), 0.0, 0.9], strict=True
        ):
            assert least <= rest <= 1.5 * least + 1.0

    def test_what_another_process_is_called_for_makes_a_rest_longer(self, standing: StandingClock) -> None:
        """Or each of many would ask in its turn, and the calls never end."""
        queues = QuietQueues()
        for _ in range(3):
            standing.ahead += 1.0
            for _ in range(1_000):
                queues.called(MAIL)
            assert queues.take(["mail"], busy=[]) == []
        standing.ahead += 3.5
        assert queues.take(["mail"], busy=[]) == []

    def test_there_is_a_claim_for_calls_while_senders_do_call_and_not_too_often(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        queues.called(MAIL)
        standing.ahead += 1.0
        assert queues.wanted_at() == float("inf")
        assert queues.take(["mail"], busy=[]) == ["mail"]
        assert queues.wanted_at() <= standing.monotonic()  # for what came before
        queues.began()
        queues.ended(1, limit=8)
        assert queues.wanted_at() == float("inf")
        queues.called(idle_cell("flood"))
        assert queues.wanted_at() == float("inf")
        queues.called(MAIL)
        assert queues.wanted_at() == pytest.approx(standing.monotonic() + quiet.SPACING_S)
        queues.began()
        queues.ended(8, limit=8)
        assert queues.wanted_at() == pytest.approx(
            standing.monotonic() + quiet.SPACING_S
        )  # there may be more
        queues.began()
        standing.ahead += 1.6
        queues.ended(1, limit=8)
        queues.called(None)
        assert queues.wanted_at() == float("inf")  # senders would not call any more

    def test_calls_for_nothing_are_heeded_less_and_less_until_one_was_for_something(
        self, standing: StandingClock
    ) -> None:
        queues = QuietQueues()
        waits = []
        for number in [0] * 6 + [1, 0]:
            queues.take(["mail"], busy=[])
            queues.began()
            queues.ended(number, limit=8)
            queues.called(MAIL)
            waits.append(round(queues.wanted_at() - standing.monotonic(), 3))
            standing.ahead += 0.1
        assert waits == pytest.approx([0.006, 0.012, 0.024, 0.048, 0.048, 0.048, 0.003, 0.006], abs=1e-6)


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
