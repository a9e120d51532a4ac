"""What the main process does about the files of its workers where the system has no room for them."""

import errno
import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast
from uuid import uuid4

import pytest

from pgqueue.engine.board import Board
from pgqueue.supervisor.child import Child, Exit, Kind, Task, on_child_death
from pgqueue.supervisor.crashes import Bystanders, LastWord
from pgqueue.supervisor.log_pipe import LogSink
from pgqueue.supervisor.posts import Nursery
from pgqueue.supervisor.scratch import Scratch
from pgqueue.supervisor.settings import Settings


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scratch]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Scratch() as opened:
        yield opened


def full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_it_is_private_and_goes_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Scratch() as scratch:
        first = scratch.directory()
        assert first.stat().st_mode & 0o777 == 0o700
        assert scratch.directory() == first
        first.rmdir()
        assert scratch.directory() != first
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["a file", "a link", "a directory that others may write to", "nothing"])
def test_what_somebody_else_has_put_there_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch = Scratch()
    first = scratch.directory()
    first.rmdir()
    if what == "a file":
        first.write_text("theirs")
    elif what == "a link":
        first.symlink_to(tmp_path)
    elif what != "nothing":
        first.mkdir()
        first.chmod(0o777)
    with scratch:
        assert scratch.directory() != first
    assert list(tmp_path.iterdir()) == ([] if what == "nothing" else [first])
    assert f"Somebody has removed '{first}'" in caplog.text


def test_a_start_that_fails_leaves_no_file(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(context.Process, "start", full)
    nursery = Nursery(Settings(broker="app"), context=context, sink=LogSink(None), scratch=scratch)
    task = Task(Kind.WORKER, "Worker process 0", lambda *_: 0)
    with pytest.raises(OSError, match="No space left"):
        nursery.start(task, inherited=())
    assert list(scratch.directory().iterdir()) == []


def test_no_room_for_another_directory_is_told_where_a_process_has_died(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = scratch.directory() / "board-1"
    board, last_word = Board.create(path, 1), LastWord(path)
    board.add_owner(uuid4())
    board.note(0, 11)
    child = SimpleNamespace(
        board=board, last_word=last_word, culprits=None, task=SimpleNamespace(name="Worker process 0")
    )
    monkeypatch.setattr(scratch, "directory", full)
    on_child_death(cast("Child", child), Exit(-9), Bystanders(), scratch)
    assert "What Worker process 0 was running can't be left to the others" in caplog.text
    assert "was running 1 messages" in caplog.text
    board.close()
    last_word.close()
