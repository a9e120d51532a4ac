"""Waiting for a connection or a call, whatever happens to the descriptors."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator

import pytest

from pgqueue.engine.nudge import Nudge

#: Seconds that no test lasts for.
LONG_S = 20.0


@pytest.fixture
def nudge() -> Iterator[Nudge]:
    made = Nudge()
    yield made
    made.close()


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=["poll", "select"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")  # as on Windows


@pytest.mark.usefixtures("_both_ways")
def test_it_tells_a_call_from_something_to_read(
    nudge: Nudge, line: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = line
    assert not nudge.wait(ours.fileno(), 0.0)
    nudge.give()
    nudge.give()
    begun_at = time.monotonic()
    assert not nudge.wait(ours.fileno(), LONG_S)
    assert time.monotonic() - begun_at < LONG_S / 2
    theirs.send(b"!")
    assert nudge.wait(ours.fileno(), LONG_S)
    nudge.give()
    assert nudge.wait(ours.fileno(), LONG_S)
    ours.recv(1)
    begun_at = time.monotonic()
    assert not nudge.wait(ours.fileno(), 0.02)
    assert time.monotonic() - begun_at >= 0.02


def test_calls_without_end_do_not_block(nudge: Nudge, line: tuple[socket.socket, socket.socket]) -> None:
    for _ in range(100_000):
        nudge.give()
    assert not nudge.wait(line[0].fileno(), LONG_S)


def test_after_its_end_calls_lead_nowhere(nudge: Nudge) -> None:
    nudge.close()
    nudge.give()
    nudge.close()


def test_a_pipe_that_somebody_has_closed_is_made_anew_and_theirs_is_left_alone(
    nudge: Nudge, line: tuple[socket.socket, socket.socket]
) -> None:
    pipe = nudge._pipe
    assert pipe is not None
    os.close(pipe.reader)
    os.close(pipe.writer)
    reader, writer = os.pipe()  # takes the numbers
    assert {reader, writer} == {pipe.reader, pipe.writer}
    try:
        os.write(writer, b"theirs")
        nudge.give()
        assert not nudge.wait(line[0].fileno(), 0.0)
        nudge.give()
        begun_at = time.monotonic()
        assert not nudge.wait(line[0].fileno(), LONG_S)
        assert time.monotonic() - begun_at < LONG_S / 2
        assert os.read(reader, 100) == b"theirs"
    finally:
        os.close(reader)
        os.close(writer)
