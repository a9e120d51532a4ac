"""What a process knows of its running messages, and whom it interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pgqueue.engine.running import Running
from pgqueue.threading import Cancelled, InterruptShield

from ..support.eventually import eventually


@dataclass
class Message:
    message_id: str
    failed: bool = False


ID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def shield() -> Iterator[InterruptShield]:
    """The test's thread as a worker's: exceptions of others come through when it is lowered."""
    made = InterruptShield()
    yield made
    made.remove()


def test_what_is_not_to_run_is_interrupted_as_its_actor_starts(shield: InterruptShield) -> None:
    running = Running()
    assert running.cancel([ID]) == {}
    running.begin(1, Message(ID), time.monotonic())
    with pytest.raises(Cancelled):
        shield.lower()
    shield.raise_()
    running.end()


@pytest.mark.parametrize("message", [Message("another"), Message(ID, failed=True)])
def test_others_and_what_has_failed_already_are_not(shield: InterruptShield, message: Message) -> None:
    running = Running()
    running.cancel([ID])
    running.begin(1, message, time.monotonic())
    shield.lower()
    shield.raise_()
    running.end()


def test_a_request_that_was_taken_back_interrupts_nobody(shield: InterruptShield) -> None:
    running = Running()
    running.cancel([ID])
    running.cancel([])
    running.begin(1, Message(ID), time.monotonic())
    shield.lower()
    shield.raise_()
    running.end()


def test_a_run_is_interrupted_once_and_only_if_its_message_allows_it() -> None:
    running = Running(lambda message: message.message_id == ID)
    begun, caught = threading.Event(), list[str]()

    def work() -> None:
        own = InterruptShield()
        running.begin(1, Message(ID), time.monotonic())
        try:
            own.lower()
            begun.set()
            while True:
                time.sleep(0.001)
        except Cancelled:
            caught.append("once")
            time.sleep(0.05)  # Python code, in which a second exception would be raised
        finally:
            own.raise_()
            running.end()
            own.remove()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10.0)
    assert running.cancel([ID]) == {ID: "accepted"}
    eventually(lambda: _assert(caught == ["once"]))
    assert running.cancel([ID]) in ({ID: "accepted"}, {})
    thread.join(10.0)
    assert running.cancel([ID]) == {}

    running.begin(2, Message("other"), time.monotonic())
    key = "795f3202-b17c-b6bc-3d4b-771d8c6c9eaf"
    assert running.cancel([key]) == {key: "refused"}
    running.end()


def test_only_what_has_run_for_a_while_is_told_of() -> None:
    running = Running()
    running.begin(7, Message(ID), time.monotonic() - 5)
    assert list(running.for_longer_than(1.0)) == [7]
    assert 4_900 < running.for_longer_than(1.0)[7] < 60_000
    assert running.for_longer_than(3_600) == {}
    running.end()
    assert running.for_longer_than(0.0) == {}


def _assert(fact: object) -> None:
    assert fact
