"""Passing children's output on."""

import os
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest

from pgqueue.supervisor.log_pipe import LONGEST_LINE, LogPipe, LogSink


class Line:
    """A pipe, its writing end, and the file it leads to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sink = LogSink(path)
        reader, self.writer = Pipe(duplex=False)
        self.pipe = LogPipe(reader, self.sink)

    def write(self, data: bytes) -> None:
        os.write(self.writer.fileno(), data)

    @property
    def written(self) -> bytes:
        return self.path.read_bytes()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path / "log")
    yield made
    made.pipe.close()
    made.writer.close()
    made.sink.close()


def test_whole_lines_are_passed_on_and_the_rest_waits(line: Line) -> None:
    line.write(b"one\ntw")
    assert line.pipe.pump()
    assert line.written == b"one\n"
    line.write(b"o\n")
    line.pipe.pump()
    assert line.written == b"one\ntwo\n"


def test_nothing_to_read_is_not_the_end(line: Line) -> None:
    assert line.pipe.pump()


def test_the_end_is_reported(line: Line) -> None:
    line.writer.close()
    assert not line.pipe.pump()


def test_the_last_words_of_a_dead_child_get_a_line_of_their_own(line: Line) -> None:
    line.write(b"one\nlast words")
    line.pipe.drain()
    assert line.written == b"one\nlast words\n"


def test_an_endless_line_is_passed_on_in_pieces(line: Line) -> None:
    for _ in range(LONGEST_LINE // 50_000 + 1):
        line.write(b"x" * 50_000)
        line.pipe.pump()
    assert len(line.written) > LONGEST_LINE


def test_a_log_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    sink = LogSink(path)
    sink.write(b"after\n")
    sink.close()
    assert path.read_text() == "before\nafter\n"


def test_a_sink_that_can_not_be_written_to_stops_nobody() -> None:
    sink = LogSink(Path("/dev/full"))
    sink.write(b"lost\n")
    sink.close()
