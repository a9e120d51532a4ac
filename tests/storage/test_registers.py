"""A call for workers names the register of the queues that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from pgqueue.engine.intake import POLLS_S
from pgqueue.engine.quiet import ASK_S
from pgqueue.storage.messages import Verdict, settle
from pgqueue.storage.registers import (
    IDLE_MS,
    RENEW_MS,
    called_cell,
    channel,
    idle_cell,
    idle_register,
    read,
    wake,
)
from tests.support.queue import Queue

#: Queues of three registers.
QUEUES = ["default", "mail", "reports"]


@pytest.fixture
def listener(queue: Queue) -> Iterator[psycopg.Connection[Any]]:
    connection = queue.connect()
    connection.execute(f'LISTEN "{channel("pgqueue")}"')
    yield connection
    connection.close()


def heard(listener: psycopg.Connection[Any]) -> list[int | None]:
    """The cells that were called since the last time."""
    listener.execute(f"SELECT pg_notify('{channel('pgqueue')}', 'end')".encode())
    found: list[str] = []
    while "end" not in found:
        found += [one.payload for one in listener.notifies(timeout=5.0, stop_after=1)]
    return [called_cell(payload) for payload in found[:-1]]


def becomes_idle(queue: Queue, *queue_names: str) -> None:
    for name in queue_names:
        queue.value(f"SELECT setval('{idle_register(name, schema='pgqueue')}', 9999999999999)")


@pytest.mark.parametrize(("age_ms", "given_again"), [(0, False), (RENEW_MS + 5, True), (5 * IDLE_MS, True)])
def test_word_of_idle_workers_never_ends_between_two_questions(
    queue: Queue, age_ms: int, given_again: bool
) -> None:
    """Whoever sent in the gap would notify nobody, and the message wait until the next look."""
    assert RENEW_MS + 1000 * POLLS_S[-1] <= IDLE_MS - 200
    assert 1000 * ASK_S <= IDLE_MS - 200
    register = idle_register("mail", schema="pgqueue")
    until = queue.value(
        f"SELECT setval('{register}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {IDLE_MS - age_ms})"
    )
    read(queue.conn, queue.statements, idle=[register])
    now_until = queue.value(f"SELECT pg_sequence_last_value('{register}'::regclass)")
    assert now_until >= until + min(age_ms, RENEW_MS) if given_again else now_until == until


@pytest.mark.parametrize(
    ("payload", "cell"),
    [
        ("idle_0", 0),
        ("idle_15", 15),
        ("", None),
        ("orders", None),
        ("idle_", None),
        ("idle_x", None),
        ("idle", None),
    ],
)
def test_a_call_of_another_release_is_for_all(payload: str, cell: int | None) -> None:
    assert called_cell(payload) == cell


def test_only_workers_of_a_queue_that_was_sent_to_are_called(
    queue: Queue, listener: psycopg.Connection[Any]
) -> None:
    assert len({idle_cell(name) for name in QUEUES}) == 3
    becomes_idle(queue, "mail", "reports")
    queue.send("nobody is idle there")
    assert heard(listener) == []
    queue.send("mail", queue_name="mail")
    assert heard(listener) == [idle_cell("mail")]
    queue.send_all([queue.new(name, queue_name=name) for name in QUEUES])
    assert sorted(heard(listener), key=str) == sorted([idle_cell("mail"), idle_cell("reports")], key=str)


def test_so_are_those_of_a_queue_that_an_ack_sends_to(
    queue: Queue, listener: psycopg.Connection[Any]
) -> None:
    becomes_idle(queue, "mail")
    queue.send("parent")
    owner = uuid4()
    [message] = queue.claimed(owner)
    child = queue.new("child", queue_name="mail")
    settle(
        queue.conn, queue.statements, owner=owner, closes=[True], slots=[message.lease.slot],
        verdicts=[Verdict(message, str(uuid4()), "parent", follow_ups=[child])], channel=channel("pgqueue"),
        registers=[idle_register(name, schema="pgqueue") for name in ("default", "mail")],
    )  # fmt: skip
    assert heard(listener) == [idle_cell("mail")]


def test_other_reasons_to_look_call_all(queue: Queue, listener: psycopg.Connection[Any]) -> None:
    wake(queue.conn, queue.statements)
    assert heard(listener) == [None]
