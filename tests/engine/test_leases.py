"""The names that a process claims under."""

from uuid import UUID, uuid4

from pgqueue.engine.leases import Leases


def adopted(leases: Leases) -> UUID:
    """A new name."""
    leases.adopt(owner := uuid4())
    return owner


def test_a_name_is_old_when_another_is_current() -> None:
    leases = Leases()
    first, second = adopted(leases), adopted(leases)
    assert leases.old_names() == [first]
    leases.renounce()
    assert leases.old_names() == [first, second]


def test_a_name_does_not_grow_old_while_somebody_claims_under_it() -> None:
    """One of two fetchers lost its connection: what the other's claim is about to bring must not be given back."""
    leases = Leases()
    first = adopted(leases)
    with leases.claiming(within_s=0.0) as owner:
        assert owner == first
        leases.renounce()
        adopted(leases)
        assert leases.old_names() == []
    assert leases.old_names() == [first]


def test_without_a_name_nothing_is_claimed() -> None:
    with Leases().claiming(within_s=0.0) as owner:
        assert owner is None
