"""Signals end the demo when it can clean up, and once."""

import signal
from collections.abc import Callable
from signal import raise_signal

import pytest

from pgqueue.demo.interruption import Interruption


def interrupted(run: Callable[[Interruption, list[str]], None]) -> list[str]:
    """Run something that a Ctrl-C ends; return what it has noted, and when the signal was heard."""
    course: list[str] = []

    def interruptible() -> None:
        with Interruption(lambda: course.append("heard")) as interruption:
            run(interruption, course)

    with pytest.raises(KeyboardInterrupt):
        interruptible()
    return course


def test_a_signal_becomes_an_exception_at_once() -> None:
    def run(_interruption: Interruption, course: list[str]) -> None:
        raise_signal(signal.SIGINT)
        course.append("too far")

    assert interrupted(run) == ["heard"]


def test_another_signal_than_ctrl_c_becomes_its_exit_code() -> None:
    with pytest.raises(SystemExit) as caught, Interruption(lambda: None):
        raise_signal(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM


def test_a_held_block_comes_to_its_end_first() -> None:
    def run(interruption: Interruption, course: list[str]) -> None:
        with interruption.held():
            raise_signal(signal.SIGINT)
            course.append("started")
        course.append("too far")

    assert interrupted(run) == ["heard", "started"]


def test_a_signal_counts_for_more_than_the_failure_that_it_caused() -> None:
    """Ctrl-C reaches all programs of a terminal: what we were starting fails by it."""

    def run(interruption: Interruption, _course: list[str]) -> None:
        with interruption.held():
            raise_signal(signal.SIGINT)
            raise OSError("the program that was started has died")

    assert interrupted(run) == ["heard"]


def test_further_signals_do_not_disturb_the_cleaning_up() -> None:
    def run(_interruption: Interruption, course: list[str]) -> None:
        try:
            raise_signal(signal.SIGINT)
        finally:
            raise_signal(signal.SIGINT)
            raise_signal(signal.SIGTERM)
            course.append("cleaned up")

    assert interrupted(run) == ["heard", "cleaned up"]


def test_signals_that_were_ignored_stay_so_and_the_others_get_their_handlers_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption(lambda: None) as interruption:
            raise_signal(signal.SIGHUP)
            interruption.ignore()
            raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is before
    finally:
        signal.signal(signal.SIGHUP, hangup)
