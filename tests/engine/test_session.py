"""What a session notes for whoever finds its process dead."""

from pathlib import Path

import pytest

from pgqueue.engine.board import Board
from pgqueue.engine.session import Session
from pgqueue.storage.database import Database


@pytest.mark.parametrize("message_id", ["0f8fad5b-d9cb-469f-a165-70867728950e", "a\ud800b", ""])
def test_a_message_is_noted_whatever_its_id(tmp_path: Path, message_id: str) -> None:
    """A raw row may have half a letter in it; the message runs nevertheless."""
    board = Board.create(tmp_path / "board-1", 1)
    session = Session(Database("postgresql://nobody@nowhere/nothing"), threads=1, board=board)
    session.note(7, message_id)
    assert board.read().running == [7]
    session.note(0)
    assert board.read().running == []
    board.close()
