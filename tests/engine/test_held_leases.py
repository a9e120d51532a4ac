"""What a process knows of the leases that it holds."""

import threading
from uuid import uuid4

from pgqueue.engine.leases import Leases
from pgqueue.storage.messages import ClaimedMessage, Lease


def claimed(leases: Leases, lid: int, number: int) -> list[ClaimedMessage]:
    owner = leases.current()
    assert owner is not None
    lease = Lease(lid, 0, owner, left=number)
    return [ClaimedMessage(lid * 100 + n, lease, 1, 0, 0, b"") for n in range(number)]


def with_name() -> Leases:
    leases = Leases()
    leases.adopt(uuid4())
    return leases


def test_a_lease_is_dropped_when_its_last_message_is_settled() -> None:
    leases = with_name()
    one, two = messages = claimed(leases, 7, 2)
    leases.add(messages)
    owner = one.lease.owner
    leases.count_off([one])
    leases.drop([one])
    assert leases.lids(owner) == [7]
    leases.count_off([two])
    leases.drop([two])
    assert leases.lids(owner) == []


def test_after_a_new_name_the_old_one_is_still_known() -> None:
    leases = with_name()
    old = leases.current()
    leases.add(claimed(leases, 7, 1))
    leases.renounce()
    assert leases.current() is None
    leases.adopt(uuid4())
    assert leases.old_names() == [old]
    assert old is not None
    leases.forget(old)
    assert leases.old_names() == []
    assert leases.lids(old) == []


def test_what_was_claimed_under_a_lost_name_is_not_remembered() -> None:
    leases = with_name()
    messages = claimed(leases, 7, 1)
    owner = messages[0].lease.owner
    leases.forget(owner)
    leases.add(messages)
    assert leases.lids(owner) == []
    assert leases.current() is None


def test_who_needs_a_name_waits_for_it() -> None:
    leases, owner = Leases(), uuid4()
    threading.Timer(0.05, leases.adopt, [owner]).start()
    assert leases.current(within_s=5.0) == owner


def test_without_a_name_the_wait_ends() -> None:
    assert Leases().current(within_s=0.01) is None
