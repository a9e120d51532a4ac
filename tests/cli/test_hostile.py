"""What the command line prints of hostile messages: JSON that is JSON, and text without a traceback of ours."""

from __future__ import annotations

import pytest

from tests.support.hostile import HOSTILE, LARGE, put_all, strict
from tests.support.queue import Queue

from .conftest import Run


@pytest.mark.timeout(240)
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
def test_hostile_messages_are_printed(run: Run, queue: Queue, step: int) -> None:
    ids = [id_ for id_ in put_all(queue) if LARGE not in id_]
    assert len(ids) == (len(HOSTILE) - 1) * 6
    for words in (["messages", "show", "{}"], ["why", "{}"]):
        for id_ in ids[::step]:
            asked = [word.format(id_) for word in words]
            code, text = run(*asked)
            assert (code, text.startswith(id_)) == (0, True), id_
            _, text = run(*asked, "--json")
            assert strict(text)["message_id"] == id_
    for asked in (["dead"], ["dead", "list"], ["messages"], ["messages", "--search", "x"]):
        assert run(*asked)[0] == 0
        strict(run(*asked, "--json")[1])


def test_json_keeps_what_it_can(run: Run, queue: Queue) -> None:
    put_all(queue)
    shown = {}
    for name in ("nan", "infinity", "minus-infinity", "lone-surrogate", "huge-number", "nested-to-the-brim"):
        text = run("messages", "show", f"{name}-arguments", "--json")[1]
        found = strict(text)
        rows = found["rows"] or found["dead_letters"]
        shown[name] = rows[0]["message"]["args"][0]
    assert "(nested too deep to be shown)" in str(shown.pop("nested-to-the-brim"))
    assert shown == {
        "nan": "NaN", "infinity": "Infinity", "minus-infinity": "-Infinity", "lone-surrogate": "a\ud800b",
        "huge-number": 10**4_000,
    }  # fmt: skip
