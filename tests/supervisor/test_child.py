"""What is decided about a process that has ended."""

import pytest
from hypothesis import given, strategies as st

from pgqueue.supervisor.child import LONGEST_DELAY_S, Exit, Kind, Outlook, outlook, restart_delay_s


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-9, "was killed by SIGKILL"),
        (-63, "was killed by signal 63"),
    ],
)
def test_an_exit_reads_as_a_sentence(code: int, text: str) -> None:
    assert str(Exit(code)) == text


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("code", [0, 1, 2, 3, -9])
@pytest.mark.parametrize("booted", [True, False])
def test_nothing_is_restarted_while_stopping(kind: Kind, code: int, booted: bool) -> None:
    assert outlook(kind, Exit(code), first=True, booted=booted, stopping=True) is Outlook.GONE


@pytest.mark.parametrize(
    ("ended", "first", "booted", "expected"),
    [
        (Exit(2), True, False, Outlook.BRING_DOWN),
        (Exit(3), True, False, Outlook.BRING_DOWN),
        (Exit(0), True, False, Outlook.BRING_DOWN),
        (Exit(-11), True, False, Outlook.RESTART),
        (Exit(3), False, False, Outlook.RESTART),
        (Exit(1), True, True, Outlook.RESTART),
        (Exit(0), True, True, Outlook.RESTART),
        (Exit(-9), False, True, Outlook.RESTART),
    ],
)
def test_a_worker_that_never_was_up_ends_the_program_unless_a_signal_killed_it(
    ended: Exit, first: bool, booted: bool, expected: Outlook
) -> None:
    assert outlook(Kind.WORKER, ended, first=first, booted=booted, stopping=False) is expected


def test_a_fork_function_that_returned_zero_is_done() -> None:
    assert outlook(Kind.FORK, Exit(0), first=True, booted=True, stopping=False) is Outlook.GONE
    assert outlook(Kind.FORK, Exit(1), first=True, booted=True, stopping=False) is Outlook.RESTART


def test_after_a_reload_a_broken_module_awaits_the_next_change() -> None:
    for code, expected in ((2, Outlook.AWAIT_CHANGE), (3, Outlook.BRING_DOWN)):
        found = outlook(Kind.WORKER, Exit(code), first=True, booted=False, stopping=False, reloaded=True)
        assert found is expected


@given(st.integers(0, 10_000))
def test_delays_grow_to_a_limit(deaths: int) -> None:
    assert 0 < restart_delay_s(deaths) <= restart_delay_s(deaths + 1) <= LONGEST_DELAY_S
