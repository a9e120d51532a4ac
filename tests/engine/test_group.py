"""Whoever is refused is found, whoever is not gets through, and nobody is lost or doubled on the way."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, strategies as st

from pgqueue.engine import group as module
from pgqueue.engine.group import BATCH, MOST_FAILURES, PATIENCE, Group
from pgqueue.storage.answering import NoAnswer
from pgqueue.storage.messages import ClaimedMessage, Lease, Verdict

OWNER = uuid4()
LOST = psycopg.OperationalError("server closed the connection unexpectedly")


def verdicts(number: int) -> list[Verdict]:
    lease = Lease(1, 0, OWNER, left=number)
    return [
        Verdict(ClaimedMessage(id_, lease, lane=1, attempts=0, wait_ms=0, payload=b""), str(uuid4()), "actor")
        for id_ in range(number)
    ]


def group_of(number: int) -> Group:
    return Group(OWNER, verdicts(number), lambda _conn, _owner, left: left)


def ids(group: Group) -> list[int]:
    return [verdict.message.id for verdict in group.left]


def attempt(group: Group, bad: set[int], *, at_once: bool = False) -> bool:
    """As the acker does it; answer whether the group was put off."""
    part = group.part()
    found = {verdict.message.id for verdict in part}
    if not found & bad:
        group.accepted(found)
    elif len(part) > 1:
        group.shrink(part, at_once=at_once)
    else:
        return group.turn(at_once=at_once)
    return False


@given(number=st.integers(1, 40), data=st.data())
def test_the_others_get_through_however_many_are_refused(number: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, number - 1), max_size=number))
    group, written = group_of(number), 0
    for _ in range(number * 8 + 20):
        if not group.left:
            break
        before = len(group.left)
        put_off = attempt(group, bad)
        written += len(group.left) < before
        if put_off:
            group.put_off(0.0, written=written)
    assert sorted(ids(group)) == sorted(bad)


def test_a_group_is_tried_as_it_is_for_a_while_and_in_ever_smaller_parts_then() -> None:
    group, sizes = group_of(8), list[int]()
    while not sizes or sizes[-1] > 1:
        sizes.append(len(group.part()))
        attempt(group, set(range(8)))
    assert sizes == [8] * PATIENCE + [4, 2, 1]
    group.accepted({ids(group)[0]})
    assert len(group.part()) == 2


@pytest.mark.parametrize("bad", [0, 31, 32, 42, 63])
def test_who_has_failed_alone_is_tried_again_when_the_others_are_written(bad: int) -> None:
    """Else each of their parts, which grow, would cost another attempt with him."""
    group, failures = group_of(64), 0
    while not (put_off := attempt(group, {bad}, at_once=True)) and failures < 64:
        failures += bool({bad} & {verdict.message.id for verdict in group.part()})
    assert put_off
    assert ids(group) == [bad]
    halvings = 6
    assert failures <= 2 * halvings + 1


def test_what_is_known_of_those_that_are_written_is_forgotten() -> None:
    group = group_of(2)
    for verdict in list(group.left):
        group.blames(verdict, LOST, written=1)
        group.turn()
    group.accepted({1})
    assert (set(group.blamed), group.alone) == ({0}, {0})


def test_parts_never_grow_beyond_a_batch() -> None:
    group = group_of(BATCH * 2)
    group.accepted({0})
    assert len(group.part()) == BATCH


def test_only_who_fails_again_and_again_while_others_are_written_is_to_blame() -> None:
    (verdict,) = (group := group_of(1)).left
    assert not any(group.blames(verdict, LOST, written=3) for _ in range(50))
    assert [group.blames(verdict, LOST, written=4 + n) for n in range(MOST_FAILURES)] == [
        *[False] * (MOST_FAILURES - 1),
        True,
    ]


def test_what_the_server_says_of_itself_is_nobodys_fault() -> None:
    (verdict,) = (group := group_of(1)).left
    for error in (
        psycopg.errors.DiskFull("full"),
        psycopg.errors.QueryCanceled("statement timeout"),
        psycopg.errors.LockNotAvailable("lock timeout"),
        NoAnswer("the server has not answered for 12 s"),
    ):
        assert not any(group.blames(verdict, error, written=n) for n in range(50))


def test_who_was_put_off_waits_longer_each_time_if_others_are_written_meanwhile() -> None:
    group = group_of(1)
    waits = list[float]()
    for written in range(1, 12):
        group.put_off(0.0, written=written)
        waits.append(group.due_at)
    assert waits[0] == 0.0
    assert waits[-1] > module.RARELY_S / 3
    assert max(waits) <= module.RARELY_S
    group.put_off(0.0, written=11)
    assert group.due_at <= module.AGAIN_S


def test_those_that_are_put_off_together_are_tried_together() -> None:
    first, second = Group(OWNER, verdicts(5)[:2], lambda *_: []), Group(OWNER, verdicts(5)[2:], lambda *_: [])
    second.blames(second.left[0], LOST, written=1)
    first.turn()
    first.join(second)
    assert ids(first) == [1, 2, 3, 4, 0]
    assert first.alone == {0}
    assert 2 in first.blamed


def look_after_loss(*_: object) -> list[Verdict]:
    return []


@pytest.mark.parametrize("has_lost", [0, 1])
def test_who_joins_is_tried_as_soon_as_either_is_due_and_a_loss_of_either_is_remembered(
    has_lost: int,
) -> None:
    groups = group_of(2), group_of(1)
    groups[has_lost].after_refusal, groups[has_lost].has_lost = look_after_loss, True
    groups[0].due_at, groups[1].due_at = 30.0, 0.5
    groups[0].join(groups[1])
    assert groups[0].due_at == 0.5
    assert groups[0].after_refusal is look_after_loss
    assert groups[0].has_lost
