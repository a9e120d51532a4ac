"""What is known of the server's clock, on a machine whose own may be off."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import pgqueue
from pgqueue import clock
from pgqueue.broker import MessageProxy
from pgqueue.brokers._outgoing import Encoded
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message
from pgqueue.middleware import AgeLimit, SkipMessage

from .support.processes import ROOT

TEN_MINUTES = 600_000

#: The instant at the server's.
NOW = 1_700_000_000_000


class Machine:
    """A machine: its clock, and how long it has been running."""

    def __init__(self) -> None:
        self.here_ms = NOW
        self.steady_ms = 0.0

    def passes(self, ms: int) -> None:
        self.here_ms += ms
        self.steady_ms += ms

    def learns(self, server_ms: float, *, took_ms: int = 0) -> None:
        asked_ms = self.steady_ms
        self.passes(took_ms)
        clock.learn(server_ms, asked_ms=asked_ms)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """This process on a machine that has not asked a server yet."""
    made = Machine()
    monkeypatch.setattr(clock, "_here", lambda: made.here_ms)
    monkeypatch.setattr("pgqueue.message.current_millis", lambda: made.here_ms)
    monkeypatch.setattr(clock, "steady_millis", lambda: made.steady_ms)
    monkeypatch.setattr(clock, "_learnt", clock._Learnt())
    return made


def message(**options: object) -> Message[None]:
    return Message("default", "actor", (), {}, dict(options))


def test_until_a_server_has_answered_its_own_clock_is_all_there_is(machine: Machine) -> None:
    assert clock.ahead_ms() == 0
    assert clock.server_millis() == NOW
    assert message().options == {}


@pytest.mark.parametrize("ahead_ms", [TEN_MINUTES, -TEN_MINUTES, 1_500])
def test_a_clock_that_is_off_is_set_right(machine: Machine, ahead_ms: int) -> None:
    machine.here_ms += ahead_ms
    machine.learns(NOW)
    machine.passes(5_000)
    assert clock.ahead_ms() == ahead_ms
    assert clock.server_millis() == NOW + 5_000
    assert clock.server_now().timestamp() * 1000 == NOW + 5_000


@pytest.mark.parametrize(("ahead_ms", "took_ms"), [(0, 0), (900, 0), (-900, 0), (2_000, 4_000), (0, 60_000)])
def test_what_an_answers_way_explains_is_no_difference(machine: Machine, ahead_ms: int, took_ms: int) -> None:
    machine.here_ms += ahead_ms
    machine.learns(NOW + took_ms / 2, took_ms=took_ms)
    assert clock.ahead_ms() == 0
    assert clock.server_millis() == machine.here_ms


def test_a_clock_that_is_set_meanwhile_is_noticed_without_asking(machine: Machine) -> None:
    machine.learns(NOW)
    machine.passes(10_000)
    machine.here_ms -= TEN_MINUTES
    assert clock.ahead_ms() == -TEN_MINUTES
    assert clock.server_millis() == NOW + 10_000


def test_the_last_answer_counts(machine: Machine) -> None:
    machine.learns(NOW + TEN_MINUTES)
    machine.learns(NOW)
    assert clock.ahead_ms() == 0


@given(
    here=st.integers(-(10**7), 10**7), took=st.integers(0, 60_000), share=st.floats(0, 1), later=st.integers(0, 10**8)
)  # fmt: skip
def test_it_is_never_wronger_than_the_answers_way_and_the_tolerance(
    here: int, took: int, share: float, later: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine()
        patch.setattr(clock, "_here", lambda: machine.here_ms)
        patch.setattr(clock, "steady_millis", lambda: machine.steady_ms)
        patch.setattr(clock, "_learnt", clock._Learnt())
        machine.here_ms += here
        machine.learns(NOW + took * share, took_ms=took)
        machine.passes(later)
        wrong_ms = abs(clock.server_millis() - (NOW + took + later))
        assert wrong_ms <= clock.AGREES_MS + took + 1


def test_a_message_says_by_how_much_its_timestamp_is_off(machine: Machine) -> None:
    machine.here_ms += TEN_MINUTES
    machine.learns(NOW)
    given = {"max_age": 1}
    sent = Message[None]("default", "actor", (), {}, given)
    assert sent.message_timestamp == NOW + TEN_MINUTES
    assert sent.options == {"max_age": 1, "clock_ahead_ms": TEN_MINUTES}
    assert given == {"max_age": 1}
    assert clock.made_at(sent.message_timestamp, sent.options) == NOW
    # A copy is as old as its original, wherever it is made.
    machine.here_ms = NOW
    assert sent.copy().options == sent.options
    assert Message(**sent.asdict()).options == sent.options


@pytest.mark.parametrize("odd", [None, "soon", 1.5])
def test_an_odd_note_of_another_program_counts_for_nothing(odd: object) -> None:
    assert clock.made_at(NOW, {"clock_ahead_ms": odd}) == NOW


def test_messages_that_were_made_before_a_clock_was_known_to_be_off_say_so_when_they_are_sent(
    machine: Machine,
) -> None:
    machine.here_ms += TEN_MINUTES
    clock._learnt.began_ms = machine.here_ms
    early, foreign = message(), message()
    early_encoded = Encoded(early, actors={})
    foreign_encoded = Encoded(foreign.copy(message_timestamp=NOW), actors={})
    machine.passes(20)
    machine.learns(NOW + 20)
    assert Message.decode(early_encoded.dated()).options == {"clock_ahead_ms": TEN_MINUTES}
    assert Message.decode(foreign_encoded.dated()).options == {}
    machine.passes(5_000)
    # A second attempt to send has the same bytes, or it would not be found.
    assert Message.decode(early_encoded.dated()).options == {"clock_ahead_ms": TEN_MINUTES}


@pytest.mark.parametrize("ahead_ms", [TEN_MINUTES, -TEN_MINUTES])
def test_an_age_is_counted_by_the_servers_clock(
    machine: Machine, stub_broker: StubBroker, ahead_ms: int
) -> None:
    @pgqueue.actor
    def work() -> None: ...

    machine.here_ms += ahead_ms
    machine.learns(NOW)
    proxy = MessageProxy(work.message())
    # A worker whose clock is right, and then one whose clock is off to the other side.
    for here_ms in (NOW, NOW - ahead_ms):
        machine.here_ms, machine.steady_ms = here_ms, 0.0
        machine.learns(NOW)
        AgeLimit(max_age=1_000).before_process_message(stub_broker, proxy)
        machine.passes(1_000)
        with pytest.raises(SkipMessage):
            AgeLimit(max_age=1_000).before_process_message(stub_broker, proxy)


def test_connections_and_heartbeats_ask_what_time_it_is(
    postgres_broker: PostgresBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_learnt", clock._Learnt())
    monkeypatch.setattr(clock, "_here", lambda: NOW)
    with postgres_broker.database.connect(application_name="pgqueue test") as conn:
        server_s = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert server_s is not None
    assert abs(clock.server_millis() - server_s[0] * 1000) < 60_000
    assert timedelta(milliseconds=-clock.ahead_ms()) > timedelta(days=300)


#: Where this machine's clock is read, and why that decides nothing between machines.
READERS = {
    "clock.py": "here it is set right",
    "common.py": "the function itself",
    "message.py": "a message's timestamp is its sender's, and says by how much it is off",
    "brokers/_outgoing.py": "the eta that a sender is answered; what counts is the delay",
    "brokers/stub.py": "one process",
    "testing/_shelf.py": "one process",
    "rate_limits/backend.py": "backends that keep no time of their own",
    "worker/consumer.py": "brokers that keep delayed messages in a worker's memory",
    "middleware/retries.py": "a note for people, as Dramatiq has it",
    "middleware/prometheus/database.py": "the difference itself is the figure",
    "operations/checking.py": "the difference itself is what is looked for",
    "integrations/django/_task_records.py": "Django's own times of a task, for people",
    "dashboard/history.py": "one process",
    "dashboard/pages/health.py": "one process",
    "dashboard/pages/overview.py": "one process",
    "dashboard/pages/queues.py": "one process",
}


def test_nobody_else_reads_this_machines_clock() -> None:
    reading = re.compile(r"\btime\.time(_ns)?\(|\bcurrent_millis\(|datetime\.(utc)?now\(")
    package = ROOT / "pgqueue"
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if reading.search(Path(file).read_text())
    }
    assert found == READERS.keys()
