from __future__ import annotations

import threading
import time
from datetime import timedelta
from queue import Queue
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgqueue import QueueJoinTimeout, common

names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_-]*", fullmatch=True)


@given(attempts=st.integers(0, 100), factor=st.integers(1, 10_000), room=st.integers(0, 10**9))
def test_backoff_with_jitter_stays_between_its_factor_and_the_maximum(
    attempts: int, factor: int, room: int
) -> None:
    max_backoff = factor * 2 + room

    following, backoff = common.compute_backoff(attempts, factor=factor, max_backoff=max_backoff)

    assert following == attempts + 1
    assert factor <= backoff <= max_backoff


@given(attempts=st.integers(9, 100))
def test_backoff_past_the_maximum_is_between_its_half_and_itself(attempts: int) -> None:
    assert 1000 <= common.compute_backoff(attempts)[1] < 2000


@given(attempts=st.integers(0, 7))
def test_backoff_with_jitter_is_up_to_twice_what_it_is_without(attempts: int) -> None:
    _, least = common.compute_backoff(attempts, jitter=False)
    assert least <= common.compute_backoff(attempts)[1] < 2 * least


@given(attempts=st.integers(0, 100))
def test_backoff_without_jitter_doubles_up_to_the_maximum(attempts: int) -> None:
    expected = min(5 * 2 ** min(attempts, 32), 2000)

    assert common.compute_backoff(attempts, jitter=False) == (attempts + 1, expected)


def test_the_exponent_of_backoff_is_limited() -> None:
    assert common.compute_backoff(50, factor=1, jitter=False, max_exponent=3) == (51, 8)


@given(name=names)
def test_each_queue_name_leads_to_each_of_its_kinds(name: str) -> None:
    for given_name in (name, f"{name}.DQ", f"{name}.XQ"):
        assert common.q_name(given_name) == name
        assert common.dq_name(given_name) == f"{name}.DQ"
        assert common.xq_name(given_name) == f"{name}.XQ"


@given(st.text() | st.text(min_size=400, max_size=1_100) | st.text(st.characters(min_codepoint=0xD7F0)))
def test_a_name_is_one_that_postgresql_can_keep_or_is_refused(name: str) -> None:
    try:
        is_kept = len(name.encode()) <= common.MOST_NAME_BYTES and "\0" not in name
    except UnicodeEncodeError:
        is_kept = False
    if is_kept:
        assert common.checked_name(name, "the name of a queue") == name
        return
    with pytest.raises(ValueError, match="can't be the name of a queue: PostgreSQL keeps") as caught:
        common.checked_name(name, "the name of a queue")
    assert type(caught.value) is ValueError
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("a\0", "It has a NUL in it: leave that out."),
        ("a\udfff", "name.encode(errors='replace').decode() is without."),
        ("ö" * 501, "It has 1,002: take a shorter one."),
    ],
)
def test_what_is_wrong_with_a_name_is_told(name: str, fix: str) -> None:
    with pytest.raises(ValueError, match="at most 1,000 bytes") as caught:
        common.checked_name(name, "the id of a message")
    assert str(caught.value).endswith(fix)


def test_current_millis_is_the_time_of_day() -> None:
    assert abs(common.current_millis() - time.time() * 1000) < 1000


def test_an_error_that_has_no_text_is_named() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise AttributeError("nothing to say")

    assert common.error_text(Mute()) == "<no text: its __str__ raised AttributeError>"
    assert common.error_text(ValueError("no")) == "no"


@pytest.mark.parametrize("fault", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_error_whose_text_would_end_the_process_has_none(fault: type[BaseException]) -> None:
    class Ending(Exception):
        def __str__(self) -> str:
            raise fault

    assert common.error_text(Ending()) == f"<no text: its __str__ raised {fault.__name__}>"


def test_durations_become_milliseconds() -> None:
    assert common.to_millis(1500) == 1500
    assert common.to_millis(timedelta(seconds=1.5)) == 1500


@pytest.mark.parametrize("duration", ["1", None, [1]])
def test_a_duration_that_is_none_is_named(duration: Any) -> None:
    with pytest.raises(TypeError, match="a number of milliseconds or a timedelta is expected"):
        common.to_millis(duration)


def test_our_environment_variable_goes_before_dramatiqs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("dramatiq_restart_delay", "1")
    assert common.getenv_int("pgqueue_restart_delay", 3) == 1

    monkeypatch.setenv("pgqueue_restart_delay", "2")
    assert common.getenv_int("pgqueue_restart_delay", 3) == 2
    assert common.getenv_int("dramatiq_restart_delay", 3) == 2


def test_a_variable_that_is_not_set_has_the_default() -> None:
    assert common.getenv_int("pgqueue_no_such_variable") is None
    assert common.getenv_int("pgqueue_no_such_variable", 3) == 3


def test_a_program_may_read_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("pgqueue_shop_threads", "1")
    assert common.getenv_int("shop_threads") is None

    monkeypatch.setenv("shop_threads", "2")
    assert common.getenv_int("shop_threads") == 2


def test_a_variable_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("pgqueue_restart_delay", "soon")

    with pytest.raises(ValueError, match="'pgqueue_restart_delay' must be a whole number, not 'soon'"):
        common.getenv_int("pgqueue_restart_delay")


def test_iter_queue_takes_what_is_there_and_stops() -> None:
    queue = Queue[int]()
    for number in range(3):
        queue.put(number)

    assert list(common.iter_queue(queue)) == [0, 1, 2]
    assert queue.empty()


def test_join_queue_returns_when_everything_is_done() -> None:
    queue = Queue[int]()
    queue.put(1)
    queue.get()
    queue.task_done()

    common.join_queue(queue)
    common.join_queue(queue, timeout=0)


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_join_queue_gives_up_in_time(timeout: float) -> None:
    queue = Queue[int]()
    queue.put(1)

    with pytest.raises(QueueJoinTimeout):
        common.join_queue(queue, timeout=timeout)


def test_join_all_shares_one_timeout() -> None:
    release = threading.Event()
    threads = [threading.Thread(target=release.wait) for _ in range(5)]
    for thread in threads:
        thread.start()

    started = time.monotonic()
    common.join_all(threads, timeout=50)
    took = time.monotonic() - started

    release.set()
    common.join_all(threads)
    assert 0.05 <= took < 2
    assert not any(thread.is_alive() for thread in threads)
