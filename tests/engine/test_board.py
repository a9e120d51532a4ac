"""What a process leaves behind for those who find it dead."""

import logging
import multiprocessing
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, strategies as st

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.board import OWNERS, Board, Cause, assign_board, dead_boards, how_it_ended
from pgqueue.message import Message


def test_threads_and_owners_are_read_by_another_mapping(tmp_path: Path) -> None:
    writer = Board.create(tmp_path / "board", 3)
    owners = [uuid4(), uuid4()]
    for owner in owners:
        writer.add_owner(owner)
    writer.note(0, 11)
    writer.note(2, 2**62)
    reader = Board.open(tmp_path / "board")
    assert (reader.read().owners, reader.read().running) == (owners, [11, 2**62])
    writer.note(0, 0)
    assert reader.read().running == [2**62]
    writer.close()
    reader.close()


def test_a_board_is_that_of_one_process_and_of_none_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program with a worker would write its owners on it, and lose its messages when the first process dies."""
    monkeypatch.setenv("PGQUEUE_BOARD", "")  # it is as it was after the test
    Board.create(tmp_path / "board", 1).close()
    assign_board(tmp_path / "board")
    own = Board.assigned()
    assert own is not None
    assert own.path == tmp_path / "board"
    own.close()
    forked = multiprocessing.get_context("fork").Process(target=_end_without_a_board)
    forked.start()
    forked.join(20)
    assert forked.exitcode == 0
    program = "from pgqueue.engine.board import Board; assert Board.assigned() is None"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_is_mapped_once_whoever_removes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUE_BOARD", "")
    Board.create(tmp_path / "board", 1).close()
    assign_board(tmp_path / "board")
    own = Board.assigned()
    assert own is not None
    (tmp_path / "board").unlink()
    assert Board.assigned() is own
    own.add_owner(uuid4())
    own.close()


def test_a_process_whose_board_is_gone_works_without_one_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PGQUEUE_BOARD", "")
    assign_board(tmp_path / "gone")
    assert Board.assigned() is None
    assert Board.assigned() is None
    (line,) = [each.getMessage() for each in caplog.records]
    assert "can't note what it runs" in line


def test_a_worker_whose_directory_was_cleaned_consumes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, database_url: str
) -> None:
    """As after a lost connection: the last consumer has closed the session, the next opens another."""
    monkeypatch.setenv("PGQUEUE_BOARD", "")
    directory = tmp_path / "boards"
    directory.mkdir()
    Board.create(directory / "board", 1).close()
    assign_board(directory / "board")
    broker = PostgresBroker(database_url)
    broker.declare_queue("default")
    broker.consume("default").close()
    shutil.rmtree(directory)
    broker.enqueue(Message(queue_name="default", actor_name="do", args=(), kwargs={}, options={}))
    consumer = broker.consume("default", timeout=5_000)
    received = next(consumer)
    assert received is not None
    consumer.ack(received)
    consumer.close()
    broker.close()
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def _end_without_a_board() -> None:
    assert Board.assigned() is None


def test_a_thread_that_has_no_place_is_not_noted(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", 1)
    board.note(1, 5)
    assert board.read().running == []
    board.close()


@given(number=st.integers(0, 3 * OWNERS))
def test_the_youngest_owners_are_kept(tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    board = Board.create(tmp_path_factory.mktemp("boards") / "board", 1)
    owners = [uuid4() for _ in range(number)]
    for owner in owners:
        board.add_owner(owner)
    assert set(board.read().owners) == set(owners[-OWNERS:])
    board.close()


def test_the_overdue_are_those_that_run_beyond_their_limits(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", 5)
    for thread, (message, until) in enumerate([(11, 99.0), (12, 101.0), (13, 0.0), (0, 50.0), (14, 10.0)]):
        board.note(thread, message)
        board.limit(thread, until)
    board.limit(5, 1.0)
    assert board.overdue(100.0) == [11, 14]
    assert board.read().running == [11, 12, 13, 14]
    board.close()


def test_of_a_process_that_was_killed_for_some_messages_only_those_are_left_as_running(
    tmp_path: Path,
) -> None:
    board = Board.create(tmp_path / "board", 3)
    board.add_owner(owner := uuid4())
    board.note(0, 11)
    board.note(1, 12)
    board.bequeath(board.path.parent, code=-9, cause=Cause.TIME_LIMIT, culprits=[12, 13])
    board.close()
    ((_, noted),) = dead_boards(tmp_path)
    assert (noted.owners, noted.running) == ([owner], [12])
    assert noted.end.startswith("was killed by SIGKILL, because a message was far beyond its time limit")


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "exited with code 0"), (-9, "was killed by SIGKILL"), (-250, "was killed by signal 250")],
)
def test_the_end_is_told_in_words(code: int, text: str) -> None:
    assert how_it_ended(code) == text


def test_a_thread_that_python_names_leads_to_what_it_runs(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board", 2)
    board.name(1, 2**64 - 1)
    board.name(2, 4)
    board.note(1, 11)
    assert [board.run_by(name) for name in (2**64 - 1, 4, 0)] == [11, 0, 0]
    board.close()


@pytest.mark.parametrize("content", [b"", b"short", b"\2\0\0\0" + bytes(300), b"\1" + bytes(302)])
def test_a_board_that_is_no_board_is_told_once(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "board-1.dead").write_bytes(content)
    assert list(dead_boards(tmp_path)) == []
    assert "is not the board of a dead process" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_board_whose_file_is_gone_is_left_as_a_copy(tmp_path: Path, elsewhere: bool) -> None:
    (made := tmp_path / "made").mkdir()
    board = Board.create(made / "board-1", 2)
    board.add_owner(owner := uuid4())
    board.add_session(4712)
    board.note(1, 11, 99)
    board.path.unlink()
    directory = tmp_path / "another" if elsewhere else made
    directory.mkdir(exist_ok=True)
    board.bequeath(directory, code=-9)
    board.close()
    ((path, noted),) = dead_boards(directory)
    assert path == directory / "board-1.dead"
    assert (noted.owners, noted.running, noted.session, noted.keys) == ([owner], [11], 4712, {11: 99})
    assert list(directory.iterdir()) == [path]


def test_what_somebody_else_has_put_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    """A link, in the directory that was ours."""
    (tmp_path / "others").mkdir()
    (tmp_path / "ours").mkdir()
    board = Board.create(tmp_path / "others" / "board-1", 1)
    board.path.unlink()
    board.path.symlink_to(tmp_path / "precious")
    board.bequeath(tmp_path / "ours", code=-9)
    board.close()
    assert not (tmp_path / "ours" / "board-1.dead").is_symlink()
    with pytest.raises(FileExistsError):
        Board.create(tmp_path / "others" / "board-1", 1)
    assert not (tmp_path / "precious").exists()
