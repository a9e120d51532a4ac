from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

import pytest

import pgqueue
from pgqueue import Broker, _registry, get_broker, set_broker
from pgqueue.errors import BrokerNotConfigured

broker_module = importlib.import_module("pgqueue.broker")


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "global_broker", None)
    monkeypatch.setattr(_registry, "_make_default", None)


def test_the_broker_that_was_set_is_the_process_s_broker() -> None:
    broker = Broker(middleware=[])

    set_broker(broker)

    assert get_broker() is broker
    assert broker_module.global_broker is broker


def test_programs_may_assign_the_global_broker() -> None:
    broker = Broker(middleware=[])

    broker_module.global_broker = broker  # type: ignore[attr-defined]  # ModuleType knows no attributes

    assert get_broker() is broker


def test_without_a_factory_there_is_no_default() -> None:
    with pytest.raises(BrokerNotConfigured, match="PGQUEUE_URL"):
        get_broker()


def test_the_default_is_made_once_even_by_several_threads() -> None:
    made: list[Broker] = []
    inside = threading.Event()
    go_on = threading.Event()

    def make() -> Broker:
        inside.set()
        go_on.wait()
        made.append(Broker(middleware=[]))
        return made[-1]

    _registry.set_default_factory(make)
    got: list[Broker] = []
    threads = [threading.Thread(target=lambda: got.append(get_broker())) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait()
    go_on.set()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert got == made * 4


def test_forgetting_the_broker_makes_the_next_default() -> None:
    _registry.set_default_factory(lambda: Broker(middleware=[]))
    first = get_broker()

    set_broker(None)

    assert get_broker() is not first


def test_the_package_says_what_the_default_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class PostgresBroker(Broker):
        pass

    module = ModuleType("pgqueue.brokers.postgres")
    module.PostgresBroker = PostgresBroker  # type: ignore[attr-defined]  # ModuleType knows no attributes
    monkeypatch.setitem(sys.modules, "pgqueue.brokers.postgres", module)
    _registry.set_default_factory(pgqueue._default_broker)

    assert isinstance(get_broker(), PostgresBroker)
