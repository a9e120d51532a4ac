"""Messages are found by text in what they were sent with or failed of: any text, in any bytes, with a bounded look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pgqueue.message import Message
from pgqueue.operations.listing import STATES, MessageFilter, list_messages
from pgqueue.storage.searching import spellings
from tests.support.queue import Queue, done


def send(queue: Queue, message_id: str, *args: object, actor: str = "actor", **options: object) -> None:
    message: Message[None] = Message("default", actor, args, {}, {}, message_id=message_id)
    new = queue.new(message.encode(), message_id=message_id, **options)  # type: ignore[arg-type]
    queue.send_all([replace(new, actor_name=actor)])


def found(queue: Queue, text: str, states: Iterable[str] = STATES, **others: object) -> list[str]:
    which = MessageFilter(tuple(states), search=text, **others)  # type: ignore[arg-type]
    return [message.message_id for message in list_messages(queue.database, which).messages]


def end(queue: Queue, status: str, error: str | None = None, *, bury: bool = False) -> None:
    for message in queue.claimed(queue.owner()):
        sent = Message.decode(message.payload)
        verdict = done(message, status=status, error=error, reason="failed" if bury else None)
        verdict.message_id, verdict.actor_name = sent.message_id, sent.actor_name
        queue.settle([verdict], closes=True)


def test_text_in_arguments_is_found_in_every_state_that_keeps_them(queue: Queue) -> None:
    send(queue, "dead", "needle")
    end(queue, "f", "ValueError: bad", bury=True)
    send(queue, "held", "needle")
    queue.claimed(queue.owner())
    send(queue, "ready", "needle")
    send(queue, "other", "hay")
    send(queue, "due", "needle", delay_ms=60_000)
    queue.conn.execute(
        """INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
        SELECT 1, now(), gen_random_uuid(), %s, 0, 'parked', 'paused', '["a needle"]'""",
        (queue.lane(),),
    )
    assert found(queue, "NeedLe") == ["held", "ready", "parked", "due", "dead"]
    assert found(queue, "needle", ["queued", "done"]) == ["ready"]


def test_text_in_the_error_of_what_has_ended_is_found(queue: Queue) -> None:
    send(queue, "bad", "x")
    end(queue, "f", "ValueError: 100% wrong", bury=True)
    send(queue, "cancelled", "x")
    end(queue, "c", "so it was ordered")
    assert found(queue, "100% WRONG") == ["bad"]
    assert found(queue, "ordered") == ["cancelled"]
    assert found(queue, "no such") == []


def test_wildcards_and_quotes_mean_themselves(queue: Queue) -> None:
    send(queue, "plain", "a sale of fifty per cent")
    send(queue, "signs", '50%_off \' OR true -- \\ "quoted"')
    for text in ("%", "50%", "_off", "' OR true --", "\\", '"quoted"', '\\ "'):
        assert found(queue, text) == ["signs"], text
    assert found(queue, "50_") == []


def test_letters_beyond_ascii_are_found_however_the_encoder_spells_them(queue: Queue) -> None:
    send(queue, "escaped", "Zürich")
    queue.send_all([queue.new('["Zürich"]'.encode(), message_id="raw")])
    assert found(queue, "zürich") == ["escaped", "raw"]


def test_bytes_that_are_no_text_stop_no_search(queue: Queue) -> None:
    queue.send_all([queue.new(b"\x80\x04\xff\x00needle\x00\xc3", message_id="pickle")])
    queue.send_all([queue.new(b"", message_id="empty")])
    assert found(queue, "needle") == ["pickle"]
    assert found(queue, "\x01") == []


def test_only_the_beginning_of_a_large_message_is_searched(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.storage.listings.SEARCHED_BYTES", 100)
    queue.send_all([queue.new(b"near" + 200 * b"x" + b"far", message_id="large")])
    assert found(queue, "near") == ["large"]
    assert found(queue, "far") == []


def test_what_is_hidden_is_not_found_by_what_is_in_it(queue: Queue) -> None:
    send(queue, "open", "sesame")
    send(queue, "closed", "sesame", actor="secret")
    hidden = {"secret"}.__contains__
    assert found(queue, "sesame", hidden=hidden) == ["open"]
    assert len(list_messages(queue.database, MessageFilter(hidden=hidden)).messages) == 2


def test_a_search_looks_at_a_part_and_says_so(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 10)
    monkeypatch.setattr("pgqueue.operations.listing.MOST_SEARCHED", 20)
    for number in range(45):
        send(queue, str(number), "last" if number == 44 else "x")
    which = MessageFilter(("queued",), search="last")
    pages, cursor = [], None
    for _ in range(3):
        page = list_messages(queue.database, which, cursor=cursor)
        pages.append(([message.message_id for message in page.messages], page.capped))
        cursor = page.cursor
    assert pages == [([], True), ([], True), (["44"], False)]
    assert cursor is None


def test_a_search_ends_with_its_time(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 5)
    monkeypatch.setattr("pgqueue.operations.listing.SEARCH_S", -1.0)
    for number in range(12):
        send(queue, str(number), "x")
    page = list_messages(queue.database, MessageFilter(("queued",), search="no such"))
    assert (page.messages, page.capped) == ([], True)
    assert page.cursor is not None


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=20), around=st.text(max_size=5))
def test_any_text_is_found_in_the_message_that_has_it(queue: Queue, text: str, around: str) -> None:
    payload = Message("default", "a", (around + text + around,), {}, {}).encode()
    (written,) = queue.conn.execute(
        """SELECT lower(encode(%s::bytea, 'escape') COLLATE "C")""", (payload,)
    ).fetchall()
    assert any(spelling in written[0] for spelling in spellings(text))
