"""Faults reach those who watch, whatever becomes of the line in the log."""

from __future__ import annotations

import gc
import logging

import pytest

from pgqueue.faults import Fault, report, watch
from pgqueue.logging import own_logger

LOGGER = own_logger("tests.test_faults")


class Ear:
    def __init__(self) -> None:
        self.heard: list[Fault] = []
        watch(self.hear)

    def hear(self, fault: Fault) -> None:
        self.heard.append(fault)


def test_a_fault_is_heard_once_by_each_and_named_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Ear(), Ear()
    watch(first.hear)
    LOGGER.warning("lost %d", 1, fault=Fault.LEASE_LOST)
    assert first.heard == second.heard == [Fault.LEASE_LOST]
    assert [(line.getMessage(), line.__dict__["fault"]) for line in caplog.records] == [
        ("lost 1", "lease_lost")
    ]


def test_a_line_that_nobody_wants_to_see_is_counted_nevertheless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ear = Ear()
    caplog.set_level(logging.CRITICAL, "tests.test_faults")
    LOGGER.warning("lost", fault=Fault.LEASE_LOST)
    assert not caplog.records
    assert ear.heard == [Fault.LEASE_LOST]


def test_other_lines_are_no_faults(caplog: pytest.LogCaptureFixture) -> None:
    ear = Ear()
    LOGGER.warning("hello")
    assert ear.heard == []
    assert "fault" not in caplog.records[0].__dict__


def test_who_fails_to_count_keeps_no_line_from_being_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def hear(self, fault: Fault) -> None:
            raise ValueError(fault)

    broken = Broken()
    watch(broken.hear)
    LOGGER.warning("lost", fault=Fault.LEASE_LOST)
    assert [line.getMessage() for line in caplog.records] == ["lost"]
    assert "ValueError: lease_lost" in capsys.readouterr().err


def test_who_is_gone_hears_nothing() -> None:
    heard: list[Fault] = []

    class Passing:
        def hear(self, fault: Fault) -> None:
            heard.append(fault)

    passing = Passing()
    watch(passing.hear)
    del passing
    gc.collect()
    report(Fault.LEASE_LOST)
    assert heard == []
