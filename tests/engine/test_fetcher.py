"""When a fetcher finds messages, and when it knows that there are none."""

from collections.abc import Iterator

import pytest

from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import slots

from ..support.eventually import eventually
from ..support.queue import Queue, done


def no_name() -> None:
    """There is always a name in these tests."""


@pytest.fixture
def fetcher(queue: Queue, leases: Leases) -> Iterator[Fetcher]:
    made = Fetcher(queue.database, leases, ["default"], need_name=no_name)
    yield made
    made.close()


def payloads(fetcher: Fetcher, limit: int = 100) -> list[str]:
    return [message.payload.decode() for message in fetcher.fetch(limit)]


def drained(fetcher: Fetcher) -> list[str]:
    """What a fetcher finds until it sees no reason to look again."""
    found: list[str] = []
    for _ in range(20):
        found += payloads(fetcher)
        if not fetcher.worth_fetching(idle=False):
            return found
    raise AssertionError("the fetcher finds no rest")


def test_an_empty_queue_is_asked_for_news_without_a_claim(queue: Queue, fetcher: Fetcher) -> None:
    queue.send("one")
    assert drained(fetcher) == ["one"]

    def at_rest() -> None:
        # Transactions in other databases of the server are news, too, once each.
        assert drained(fetcher) == []
        assert not fetcher.worth_fetching(idle=True)

    eventually(at_rest)
    queue.send("two")
    assert fetcher.worth_fetching(idle=True)


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_a_late_commit_is_noticed_without_a_notification(queue: Queue, fetcher: Fetcher, looks: int) -> None:
    """The sender's transaction is the youngest of all: no snapshot before its commit lists it."""
    queue.lane()
    with queue.connect() as late, late.transaction():
        queue.send("late", conn=late)
        assert payloads(fetcher) == []
        for _ in range(looks):
            fetcher.worth_fetching(idle=False)
            assert payloads(fetcher) == []
    assert fetcher.worth_fetching(idle=False)
    assert payloads(fetcher) == ["late"]


def test_an_older_transaction_that_commits_is_noticed_though_the_youngest_stays_the_same(
    queue: Queue, fetcher: Fetcher
) -> None:
    """Nothing that moves with new messages and younger transactions tells of it; only that it was seen undecided."""
    queue.lane()
    with queue.connect() as late, late.transaction():
        queue.send("late", conn=late)
        queue.send("in time")
        assert payloads(fetcher) == ["in time"]
        assert payloads(fetcher) == []
        assert not fetcher.worth_fetching(idle=False)
    assert fetcher.worth_fetching(idle=False)
    assert payloads(fetcher) == ["late"]


def test_late_commits_are_found_in_any_order(queue: Queue, fetcher: Fetcher) -> None:
    queue.lane()
    senders = [queue.connect() for _ in range(7)]
    for number, sender in enumerate(senders):
        sender.execute("BEGIN")
        queue.send(str(number), conn=sender)
    queue.send("in time")
    found = drained(fetcher)
    for number in (3, 6, 0, 5):
        senders[number].execute("COMMIT")
        found += drained(fetcher)
    for number in (1, 2, 4):
        senders[number].execute("ROLLBACK")
    found += drained(fetcher)
    assert found == ["in time", "3", "6", "0", "5"]


def test_a_transaction_of_others_costs_no_endless_looks(queue: Queue, fetcher: Fetcher) -> None:
    """What was undecided when a slot was last looked into says nothing any more once the slot has been emptied."""
    other = queue.connect()
    other.execute("BEGIN")
    other.execute("SELECT pg_current_xact_id()")
    queue.send("one")
    claimed = fetcher.fetch(10)
    drained(fetcher)
    queue.settle([done(message) for message in claimed], closes=True)
    slots.open_slot(queue.conn, queue.statements, slot=1)
    Rotator(queue.statements).run_once(queue.conn)
    assert queue.slots() == [1]
    drained(fetcher)
    other.execute("COMMIT")
    drained(fetcher)


def test_a_new_slot_is_seen_even_if_nobody_told_of_it(queue: Queue, fetcher: Fetcher) -> None:
    """As when the keeper that opened it died before it could."""
    queue.send("one")
    assert drained(fetcher) == ["one"]
    slots.open_slot(queue.conn, queue.statements, slot=1)
    queue.send("two")
    assert drained(fetcher) == ["two"]


def test_a_lane_that_is_new_is_seen(queue: Queue, fetcher: Fetcher) -> None:
    assert drained(fetcher) == []
    queue.send("urgent", priority=-5)
    assert drained(fetcher) == ["urgent"]


def test_only_queues_that_are_subscribed_are_claimed_from(queue: Queue, fetcher: Fetcher) -> None:
    queue.send("other", queue_name="other")
    queue.send("own")
    assert drained(fetcher) == ["own"]
    fetcher.subscribe("other")
    assert drained(fetcher) == ["other"]


def test_lanes_of_equal_priority_take_turns(queue: Queue, fetcher: Fetcher) -> None:
    fetcher.subscribe("other")
    for name in ("default", "other"):
        queue.send(*[name] * 10, queue_name=name)
    assert set(payloads(fetcher, 4) + payloads(fetcher, 4)) == {"default", "other"}


def test_what_a_quiet_queue_has_is_in_each_claim_beside_floods(queue: Queue, fetcher: Fetcher) -> None:
    floods = [f"flood {number}" for number in range(3)]
    for name in ["quiet", *floods]:
        fetcher.subscribe(name)
        queue.send("first", queue_name=name)
    assert len(drained(fetcher)) == 4
    for name in floods:
        queue.send(*[name] * 100, queue_name=name)
    fetched = payloads(fetcher, 10)
    for _ in range(20):
        queue.send("quiet", queue_name="quiet")
        fetched += (found := payloads(fetcher, 10))
        assert found[0] == "quiet"
        assert len(found) == 10
    # And the floods take turns at the rest.
    assert min(fetched.count(name) for name in floods) >= 30


def test_two_queues_that_are_less_than_a_claim_each_leave_room_for_a_third(
    queue: Queue, fetcher: Fetcher
) -> None:
    for name in ("one", "two", "flood"):
        fetcher.subscribe(name)
    queue.send(*["flood"] * 100, queue_name="flood")
    fetched = []
    for _ in range(20):
        for name in ("one", "two"):
            queue.send(*[name] * 6, queue_name=name)
        fetched += payloads(fetcher, 10)
    assert min(fetched.count(name) for name in ("one", "two", "flood")) >= 20


def test_a_lower_priority_value_goes_first_in_all_queues(queue: Queue, fetcher: Fetcher) -> None:
    fetcher.subscribe("other")
    queue.send("c", "d", priority=5)
    queue.send("b", queue_name="other", priority=0)
    queue.send("a", priority=-1)
    assert [payloads(fetcher, 1) for _ in range(4)] == [["a"], ["b"], ["c"], ["d"]]


def test_a_broken_connection_begins_everything_anew_under_another_name(
    queue: Queue, leases: Leases, fetcher: Fetcher
) -> None:
    queue.send("one")
    assert drained(fetcher) == ["one"]
    before = leases.current()
    fetcher.close()
    assert leases.current() is None
    queue.send("two")
    leases.adopt(queue.owner())
    assert drained(fetcher) == ["two"]
    assert leases.old_names() == [before]
