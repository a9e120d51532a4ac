"""What a fetcher does about rows that came back behind its positions."""

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from pgqueue.engine import acker, fetcher
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.storage.messages import ClaimedMessage
from tests.support.eventually import eventually
from tests.support.queue import Queue


@pytest.fixture
def fetcher_for(queue: Queue) -> Iterator[Callable[[], tuple[Fetcher, Leases, UUID]]]:
    """Make fetchers, each under a name of its own."""
    made: list[Fetcher] = []

    def make() -> tuple[Fetcher, Leases, UUID]:
        leases = Leases()
        owner = queue.owner()
        leases.adopt(owner)
        made.append(Fetcher(queue.database, leases, ["default"], need_name=lambda: leases.adopt(owner)))
        return made[-1], leases, owner

    yield make
    for each in made:
        each.close()


def fetch_eventually(one: Fetcher, count: int) -> list[ClaimedMessage]:
    """Fetch as an intake does, when it is worth it, until there are so many messages."""
    found: list[ClaimedMessage] = []

    def look() -> list[ClaimedMessage]:
        if one.worth_fetching(idle=False):
            found.extend(one.fetch(100))
        assert len(found) == count
        return found

    return eventually(look)


def test_what_a_broken_claim_had_locked_is_found_after_its_end(
    queue: Queue, fetcher_for: Callable[[], tuple[Fetcher, Leases, UUID]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim's backend is not gone yet when the fetcher looks again over a new connection."""
    monkeypatch.setattr(fetcher, "FORGET_AGAIN_S", 0.1)
    queue.send("a", "b")
    broken = queue.connect()
    one, _, _ = fetcher_for()
    broken.execute("BEGIN")
    broken.execute("SELECT FROM pgqueue.ready FOR UPDATE")
    assert one.fetch(100) == []
    broken.execute("ROLLBACK")
    assert [bytes(message.payload) for message in fetch_eventually(one, 2)] == [b"a", b"b"]


def test_what_one_worker_hands_back_another_finds_at_once(
    queue: Queue, fetcher_for: Callable[[], tuple[Fetcher, Leases, UUID]]
) -> None:
    queue.send("a", "b")
    (one, leases, owner), (other, _, _) = fetcher_for(), fetcher_for()
    claimed = one.fetch(100)
    assert other.fetch(100) == []
    acker.give_back(queue.database, leases, owner, claimed)
    assert [bytes(message.payload) for message in fetch_eventually(other, 2)] == [b"a", b"b"]
