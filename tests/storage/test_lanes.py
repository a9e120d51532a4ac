"""Lanes survive a crash also where durability is lowered: senders go by their numbers as long as they live."""

import pytest

from pgqueue.storage import lanes
from tests.support.queue import Queue


@pytest.mark.parametrize(
    ("asked", "used"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_a_new_lane_is_durable_and_what_comes_after_it_as_it_was(queue: Queue, asked: str, used: str) -> None:
    conn = queue.connect(synchronous_commit=asked)
    with conn.transaction():
        assert lanes.add_lanes(conn, queue.statements, lanes=[("durable", 0)]) == 1
        assert conn.execute("SHOW synchronous_commit").fetchone() == (used,)
    assert conn.execute("SHOW synchronous_commit").fetchone() == (asked,)
