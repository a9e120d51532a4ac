from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator

import pytest

from pgqueue import asyncio as pgqueue_asyncio
from pgqueue.asyncio import (
    EventLoopThread,
    async_to_sync,
    get_event_loop_thread,
    set_event_loop_thread,
)
from pgqueue.threading import Interrupt, raise_thread_exception

logger = logging.getLogger(__name__)


@pytest.fixture
def loop_thread() -> Iterator[EventLoopThread]:
    thread = EventLoopThread(logger, interrupt_check_ival=0.01)
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    yield thread
    set_event_loop_thread(None)
    thread.stop()
    thread.join()


async def add(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


def test_a_coroutine_runs_on_the_thread_and_its_result_comes_back(loop_thread: EventLoopThread) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert loop_thread.run_coroutine(add(1, 2)) == 3
    assert loop_thread.run_coroutine(where()) == loop_thread.name


def test_what_a_coroutine_raises_comes_back_with_its_own_frames(loop_thread: EventLoopThread) -> None:
    async def fails() -> None:
        raise ValueError("oh")

    with pytest.raises(ValueError, match="oh") as caught:
        loop_thread.run_coroutine(fails())

    assert traceback.extract_tb(caught.tb)[-1].name == "fails"


@pytest.mark.parametrize("kind", [TimeoutError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_errors_that_mean_something_to_the_loop_or_to_the_wait_are_the_coroutine_s(
    loop_thread: EventLoopThread, kind: type[BaseException]
) -> None:
    async def fails() -> None:
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        loop_thread.run_coroutine(fails())
    assert loop_thread.run_coroutine(add(1, 2)) == 3


def test_a_coroutine_sees_the_context_of_the_thread_that_waits(loop_thread: EventLoopThread) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def value() -> str:
        return variable.get()

    variable.set("mine")

    assert loop_thread.run_coroutine(value()) == "mine"


def test_no_exception_is_kept_alive(loop_thread: EventLoopThread) -> None:
    class OhError(Exception):
        pass

    async def fails() -> None:
        raise OhError

    seen: list[weakref.ref[OhError]] = []
    gc.disable()
    try:
        try:
            loop_thread.run_coroutine(fails())
        except OhError as error:
            seen.append(weakref.ref(error))
        # The loop's thread may still hold the frame that finished.
        loop_thread.run_coroutine(add(1, 2))
        assert [each() for each in seen] == [None]
    finally:
        gc.enable()


class Waiting(threading.Thread):
    """Waits for a coroutine that lasts until it is cancelled."""

    def __init__(self, loop_thread: EventLoopThread, *, cleans_up: bool = True) -> None:
        super().__init__(daemon=True)
        self.loop_thread = loop_thread
        self.cleans_up = cleans_up
        self.begun = threading.Event()
        self.release = threading.Event()
        self.cancelled = False
        self.error: BaseException | None = None

    async def work(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if not self.cleans_up:
                await asyncio.to_thread(self.release.wait, 5)
            raise

    def run(self) -> None:
        try:
            self.loop_thread.run_coroutine(self.work())
        except BaseException as error:  # noqa: BLE001  # it is what the test asks about
            self.error = error

    def interrupt(self) -> None:
        assert self.ident is not None
        raise_thread_exception(self.ident, Interrupt)


def test_an_interrupt_cancels_the_coroutine_and_goes_on(loop_thread: EventLoopThread) -> None:
    thread = Waiting(loop_thread)
    thread.start()
    thread.begun.wait()

    thread.interrupt()
    thread.join(5)

    assert thread.cancelled
    assert isinstance(thread.error, Interrupt)


@pytest.mark.parametrize("heard_of", [True, False])
def test_an_interrupt_while_the_loop_is_told_leaves_nothing_running(
    loop_thread: EventLoopThread, monkeypatch: pytest.MonkeyPatch, heard_of: bool
) -> None:
    tell = loop_thread.loop.call_soon_threadsafe

    def interrupted(callback: Callable[[], object]) -> None:
        monkeypatch.undo()
        if heard_of:
            tell(callback)
        raise Interrupt

    monkeypatch.setattr(loop_thread.loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(Interrupt):
        loop_thread.run_coroutine(asyncio.Event().wait())
    assert loop_thread.run_coroutine(number_of_tasks()) == 1


async def number_of_tasks() -> int:
    return len(asyncio.all_tasks())


def test_a_coroutine_that_does_not_clean_up_is_reported(
    loop_thread: EventLoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgqueue_asyncio, "CLEANUP_TIMEOUT_S", 0.05)
    thread = Waiting(loop_thread, cleans_up=False)
    thread.start()
    thread.begun.wait()

    thread.interrupt()
    thread.join(5)

    assert isinstance(thread.error, RuntimeError)
    assert "did not end" in str(thread.error)
    thread.release.set()


def test_a_stopped_loop_cancels_what_runs_on_it() -> None:
    loop_thread = EventLoopThread(logger, interrupt_check_ival=0.01)
    loop_thread.start(timeout=5)
    thread = Waiting(loop_thread)
    thread.start()
    thread.begun.wait()

    loop_thread.stop()
    loop_thread.join(5)
    thread.join(5)

    assert thread.cancelled
    assert isinstance(thread.error, asyncio.CancelledError)


def test_a_loop_that_does_not_run_takes_no_coroutine() -> None:
    loop_thread = EventLoopThread(logger)

    # A coroutine that was never awaited would warn, and so fail this test.
    with pytest.raises(RuntimeError, match="not running"):
        loop_thread.run_coroutine(add(1, 2))
    loop_thread.stop()
    loop_thread.loop.close()


def test_a_loop_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    loop_thread = EventLoopThread(logger)
    monkeypatch.setattr(loop_thread, "run", lambda: None)

    with pytest.raises(RuntimeError, match="Event loop failed to start"):
        loop_thread.start(timeout=0.01)
    loop_thread.loop.close()


def test_the_process_has_one_event_loop_thread(loop_thread: EventLoopThread) -> None:
    assert get_event_loop_thread() is loop_thread
    assert async_to_sync(add)(1, y=2) == 3
    assert async_to_sync(add).__name__ == "add"


def test_without_an_event_loop_thread_there_are_no_async_calls() -> None:
    with pytest.raises(RuntimeError, match="AsyncIO"):
        async_to_sync(add)(1, 2)
