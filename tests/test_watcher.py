"""Watching files from where Dramatiq programs import it."""

import sys
from pathlib import Path

import pytest

from pgqueue import watcher
from pgqueue.errors import MissingExtra
from pgqueue.supervisor import reload
from tests.support.eventually import eventually


def test_file_watchers_are_set_up_from_the_watcher_module() -> None:
    assert watcher.setup_file_watcher is reload.setup_file_watcher
    assert watcher.__all__ == ["setup_file_watcher"]


def test_patterns_and_polling_may_be_given_by_position_as_in_dramatiq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[str] = []
    monkeypatch.setattr(reload, "_hang_up", changed.append)
    observer = watcher.setup_file_watcher(str(tmp_path), True, ["*.html", "**.py"], ["skip*"])
    try:
        for name in ("skip.html", "notes.txt", "page.html"):
            (tmp_path / name).write_text("1")

        def look() -> None:
            assert changed

        eventually(look)
    finally:
        observer.stop()
        observer.join()
    assert set(changed) == {"page.html"}


def test_without_watchdog_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchdog.observers", None)
    with pytest.raises(MissingExtra) as caught:
        watcher.setup_file_watcher(tmp_path)
    assert "pip install 'pgqueue-engine[watch]'" in str(caught.value)
