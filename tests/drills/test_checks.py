"""The checks find what they are there for: a drill that can't fail proves nothing."""

import random
import time
from uuid import uuid4

import psycopg
import pytest

from tests.support.eventually import eventually

from .checks import BROKEN, RECOVERY_S, Verdicts, examine
from .horizon import give_up
from .ledger import Ledger
from .load import Load
from .test_lowered_durability import Losses
from .test_lowered_transactions import TABLE, Look, Losses as LostEffects, Torn

ONE, OTHER = str(uuid4()), str(uuid4())


def finish(url: str, message_id: str, *, attempts: int = 0) -> None:
    """Let the queue say that a message is done."""
    with psycopg.connect(url) as conn:
        conn.execute(
            "INSERT INTO pgqueue.outcomes (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, "
            "status, actor_name) VALUES (1, clock_timestamp(), %s, 1, 0, 0, 0, %s, 'd', 'quick')",
            (message_id, attempts),
        )


def run(ledger: Ledger, message_id: str, *, pid: int = 1) -> None:
    """Let a process run a message to its end."""
    ledger.write("start", message_id, pid=pid)
    ledger.write("end", message_id, pid=pid)


def found(verdicts: Verdicts) -> dict[str, set[str]]:
    """What is not clean."""
    return {name: ids for name in ("lost", "overlap", "phantom", "stuck") if (ids := getattr(verdicts, name))}


def test_a_clean_run_passes(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE, OTHER)
    for message_id in (ONE, OTHER):
        run(ledger, message_id)
        finish(database_url, message_id)
    verdicts = examine(database_url, ledger)
    assert found(verdicts) == {}
    verdicts.assert_clean()


def test_four_zeros_of_nothing_are_no_success(database_url: str, ledger: Ledger) -> None:
    """As where the load never began, or where no worker has written down what it ran."""
    with pytest.raises(AssertionError, match="nothing was tried"):
        examine(database_url, ledger).assert_tried()
    ledger.write("sent", ONE)
    with pytest.raises(AssertionError, match="nothing was tried"):
        examine(database_url, ledger).assert_tried()
    run(ledger, ONE)
    finish(database_url, ONE)
    examine(database_url, ledger).assert_tried()


def test_a_message_that_is_nowhere_is_lost(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    run(ledger, ONE)
    verdicts = examine(database_url, ledger)
    assert found(verdicts) == {"lost": {ONE}}
    with pytest.raises(AssertionError, match="lost"):
        verdicts.assert_clean()


def test_a_message_that_was_acked_and_never_ran_is_lost(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    finish(database_url, ONE)
    assert found(examine(database_url, ledger)) == {"lost": {ONE}}


def test_two_runs_at_the_same_time_overlap(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    ledger.write("start", ONE, pid=1)
    run(ledger, ONE, pid=2)
    ledger.write("end", ONE, pid=1)
    finish(database_url, ONE)
    assert found(examine(database_url, ledger)) == {"overlap": {ONE}}


def test_a_run_cut_short_by_a_kill_does_not_overlap_with_the_next(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    ledger.write("start", ONE, pid=1)
    ledger.write("killed", pid=1)
    run(ledger, ONE, pid=2)
    finish(database_url, ONE, attempts=1)
    assert found(examine(database_url, ledger)) == {}


def test_nor_does_one_that_began_just_before_the_kill(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    ledger.write("killed", pid=1)
    ledger.write("start", ONE, pid=1)
    run(ledger, ONE, pid=2)
    finish(database_url, ONE, attempts=1)
    assert found(examine(database_url, ledger)) == {}


def test_a_broken_promise_is_told_with_the_runs(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    ledger.write("start", ONE, pid=1)
    run(ledger, ONE, pid=2)
    finish(database_url, ONE)
    with pytest.raises(AssertionError, match=rf"{BROKEN}\noverlap: {ONE}\n{ONE}: Run\(pid=1"):
        examine(database_url, ledger).assert_clean()


def test_a_run_of_what_was_never_committed_is_a_phantom(database_url: str, ledger: Ledger) -> None:
    run(ledger, ONE)
    assert found(examine(database_url, ledger)) == {"phantom": {ONE}}


def test_a_run_after_the_ack_is_a_phantom(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    run(ledger, ONE)
    finish(database_url, ONE)
    run(ledger, ONE)
    assert found(examine(database_url, ledger)) == {"phantom": {ONE}}


def test_two_acks_are_a_phantom(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    run(ledger, ONE)
    finish(database_url, ONE)
    finish(database_url, ONE)
    assert found(examine(database_url, ledger)) == {"phantom": {ONE}}


def test_a_message_that_is_left_in_the_queue_is_stuck(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO pgqueue.scheduled (id, xid, due_at, enqueued_at, message_id, lane, attempts, actor_name, "
            "payload) VALUES (1, 1, now(), now(), %s, 1, 0, 'quick', '')",
            (ONE,),
        )
    assert found(examine(database_url, ledger)) == {"stuck": {ONE}}


def test_a_ready_row_without_a_payload_is_stuck(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    with psycopg.connect(database_url) as conn:
        conn.execute("INSERT INTO pgqueue.ready (xid, id, lane, slot) VALUES (1, 7, 1, 0)")
    assert "without payload 7" in examine(database_url, ledger).stuck


def test_a_rerun_that_came_late_was_stuck(
    database_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.drills.checks.RECOVERY_S", -RECOVERY_S)
    ledger.write("sent", ONE)
    ledger.write("start", ONE, pid=1)
    ledger.write("killed", pid=1)
    run(ledger, ONE, pid=2)
    finish(database_url, ONE, attempts=1)
    assert found(examine(database_url, ledger)) == {"stuck": {ONE}}


@pytest.mark.parametrize(("held_at", "stuck"), [(10.0, False), (3.0, True), (None, True)])
def test_who_claimed_it_and_was_killed_has_his_own_time(
    database_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, held_at: float | None, stuck: bool
) -> None:
    def write(at: float, kind: str, *subjects: str, pid: int = 0) -> None:
        monkeypatch.setattr("tests.drills.ledger.true_time", lambda: at)
        ledger.write(kind, *subjects, pid=pid)

    write(0.0, "sent", ONE)
    write(0.5, "held", ONE, pid=3)  # before the cut: it is no claim since
    write(1.0, "start", ONE, pid=1)
    write(2.0, "killed", pid=1)
    if held_at is not None:
        write(held_at, "held", ONE, pid=2)
        write(held_at, "killed", pid=2)
    write(20.0, "start", ONE, pid=4)
    write(20.5, "end", ONE, pid=4)
    finish(database_url, ONE, attempts=1)
    verdicts = examine(database_url, ledger)
    assert (ONE in verdicts.stuck) is stuck
    assert verdicts.figures["slowest rerun s"] == 20.0 - (held_at or 2.0)
    assert verdicts.figures["slowest in all s"] == 18.0


def test_a_charge_for_what_never_started_is_told(database_url: str, ledger: Ledger) -> None:
    ledger.write("sent", ONE)
    run(ledger, ONE)
    finish(database_url, ONE, attempts=1)
    with pytest.raises(AssertionError, match="had never started"):
        examine(database_url, ledger)
    assert found(examine(database_url, ledger, charged_by_guess=True)) == {}


def test_a_charge_for_what_was_killed_just_before_it_started_is_right(
    database_url: str, ledger: Ledger
) -> None:
    ledger.write("sent", ONE)
    ledger.write("begins", ONE, pid=1)
    ledger.write("killed", pid=1)
    ledger.write("begins", ONE, pid=2)
    run(ledger, ONE, pid=2)
    finish(database_url, ONE, attempts=1)
    assert found(examine(database_url, ledger)) == {}


def test_what_a_crash_was_allowed_to_take_is_not_lost_and_does_not_come_back(
    database_url: str, ledger: Ledger
) -> None:
    ledger.write("sent", ONE, OTHER)
    for message_id in (ONE, OTHER):
        run(ledger, message_id)
    finish(database_url, OTHER)
    assert give_up(database_url, ledger).keys() == {ONE}
    assert give_up(database_url, ledger) == {}
    assert found(examine(database_url, ledger)) == {}
    ledger.write("start", ONE, pid=2, claimed_at=time.time())
    assert found(examine(database_url, ledger)) == {"phantom": {ONE}}


def test_what_was_safe_must_not_be_gone() -> None:
    losses = Losses()
    losses.add({ONE: 11.0}, at=12.0, safe_until=10.0)
    assert losses.lost == 1
    assert max(losses.oldest_s) == 1.0
    with pytest.raises(AssertionError, match=ONE):
        losses.add({ONE: 9.0}, at=12.0, safe_until=10.0)


def test_a_load_that_outruns_the_workers_is_held_back(
    database_url: str, ledger: Ledger, dice: random.Random
) -> None:
    def held_back() -> None:
        assert load.held_back > 2

    with Load(database_url, ledger, dice, rate=10_000, most_waiting=20) as load:
        eventually(held_back, within_s=30.0)
    # The last that were sent in one go came on top.
    assert 20 < sum(entry.kind == "sent" for entry in ledger.read()) <= 20 + 60


def test_a_ledger_is_read_while_others_write_into_it(ledger: Ledger) -> None:
    """Of a long write a part may be there already, when its length is taken or its lines are read."""
    ledger.write("sent", ONE)
    whole = ledger.path.read_bytes()
    with ledger.path.open("ab") as file:
        file.write(whole[:40])
        file.flush()
        torn = ledger.size
        assert [entry.subject for entry in ledger.read()] == [ONE]
        assert list(ledger.read(skip=len(whole))) == []
        file.write(whole[40:] + whole.replace(ONE.encode(), OTHER.encode()))
        file.flush()
        assert [entry.subject for entry in ledger.read(skip=torn)] == [OTHER]
        assert [entry.subject for entry in ledger.read(skip=len(whole))] == [ONE, OTHER]


def test_an_effect_without_its_acknowledgement_is_found_and_the_reverse(database_url: str) -> None:
    insert = "INSERT INTO effects (message_id, kind) VALUES (%s, %s)"
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(TABLE.encode())
        conn.execute(insert, (ONE, "charge"))
        with pytest.raises(Torn, match="not acknowledged"):
            Look.of(conn)
        finish(database_url, ONE)
        both = Look.of(conn)
        assert both.unsafe(0.0) == 1
        finish(database_url, OTHER)
        with pytest.raises(Torn, match="without effect"):
            Look.of(conn)
        conn.execute(insert, (OTHER, "charge"))
        conn.execute(insert, (OTHER, "receipt"))
        with pytest.raises(Torn, match="'effect': 1"):
            Look.of(conn)
    losses = LostEffects()
    losses.add(both, Look({}, {}, both.receipts, []), forgone=[])
    assert list(losses.to_come.values()) == [ONE]
    with pytest.raises(Torn):
        losses.add(both, Look({}, both.acks, both.receipts, []), forgone=[])
