from __future__ import annotations

import logging
import sys
import threading
from types import ModuleType

import pytest

from pgqueue import threading as pgqueue_threading
from pgqueue.threading import Interrupt, is_gevent_active, raise_thread_exception


class Busy(threading.Thread):
    """Runs Python code until an Interrupt reaches it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.running = threading.Event()
        self.interrupted_by: BaseException | None = None

    def run(self) -> None:
        idle = threading.Event()
        try:
            self.running.set()
            while True:
                idle.wait(0.01)
        except Interrupt as error:
            self.interrupted_by = error


@pytest.fixture
def thread() -> Busy:
    thread = Busy()
    thread.start()
    thread.running.wait()
    return thread


def test_an_interrupt_is_raised_in_the_other_thread(thread: Busy) -> None:
    assert thread.ident is not None

    raise_thread_exception(thread.ident, Interrupt)
    thread.join(5)

    assert isinstance(thread.interrupted_by, Interrupt)


def test_an_interrupt_is_not_an_exception() -> None:
    assert not issubclass(Interrupt, Exception)


def test_a_thread_that_has_ended_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        raise_thread_exception(2**31 - 1, Interrupt)

    [record] = caplog.records
    assert record.name == "pgqueue.threading"
    assert record.getMessage() == f"Failed to set exception (Interrupt) in thread {2**31 - 1}."


def test_on_other_platforms_nothing_is_raised_but_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pgqueue_threading, "current_platform", "Jython")

    with caplog.at_level(logging.CRITICAL):
        raise_thread_exception(threading.get_ident(), Interrupt)

    [record] = caplog.records
    assert record.name == "pgqueue.threading"
    assert "Jython" in record.getMessage()


@pytest.mark.parametrize("patched", [True, False])
def test_gevent_is_active_once_it_has_patched_the_threads(
    patched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkey = ModuleType("gevent.monkey")
    monkey.is_module_patched = lambda name: patched and name == "threading"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)

    assert is_gevent_active() is patched


def test_gevent_is_not_active_when_nobody_has_imported_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gevent.monkey", raising=False)

    assert not is_gevent_active()
