"""Options of actors that can't be meant are refused where the actor is declared; Dramatiq's own freedom stays."""

from __future__ import annotations

import functools
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message
from pgqueue.middleware import Middleware
from pgqueue.results import Results
from pgqueue.results.backends import StubBackend

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"max_retries": "3"},
        TypeError,
        "max_retries is '3': a number of retries, or None for any number, is expected",
    ),
    ({"max_retries": [3]}, TypeError, "max_retries is [3]"),
    ({"min_backoff": timedelta(seconds=1)}, TypeError, "min_backoff is datetime.timedelta"),
    ({"max_backoff": -1}, ValueError, "max_backoff is -1: a number of milliseconds is expected, 0 or more"),
    ({"time_limit": "x"}, TypeError, "time_limit is 'x': a number of milliseconds is expected"),
    ({"time_limit": -5}, ValueError, "time_limit is -5"),
    ({"max_age": "1h"}, TypeError, "max_age is '1h'"),
    ({"max_age": -1}, ValueError, "max_age is -1"),
    ({"result_ttl": "long"}, TypeError, "result_ttl is 'long'"),
    ({"throws": [ValueError]}, TypeError, "throws is [<class 'ValueError'>]: a class of exceptions"),
    ({"throws": "ValueError"}, TypeError, "throws is 'ValueError'"),
    ({"retry_when": True}, TypeError, "retry_when is True: a function of the number of retries"),
    ({"on_success": 3}, TypeError, "on_success is 3: the name of an actor is expected"),
    ({"on_retry_exhausted": print}, TypeError, "on_retry_exhausted is <built-in function print>"),
]

RIGHT: list[dict[str, Any]] = [
    {"max_retries": None},
    {"max_retries": 0},
    {"max_retries": -1},
    {"max_retries": False},
    {"max_retries": Decimal(3)},
    {"min_backoff": 0, "max_backoff": 0.5},
    {"time_limit": float("inf")},
    {"time_limit": None},
    {"max_age": None},
    {"result_ttl": 10},
    {"throws": (ValueError, (KeyError,))},
    {"throws": ValueError | KeyError},
    {"throws": None},
    {"retry_when": lambda *_: False},
    {"retry_when": None},
    {"on_success": "later", "on_failure": None},
]


@pytest.fixture(autouse=True)
def results(stub_broker: StubBroker) -> None:
    stub_broker.add_middleware(Results(backend=StubBackend()))


def work() -> None: ...


@pytest.mark.parametrize(("options", "error", "text"), WRONG, ids=[str(options) for options, *_ in WRONG])
def test_what_can_not_be_meant_is_refused(
    stub_broker: StubBroker, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        pgqueue.actor(**options)(work)
    assert text in str(caught.value)
    assert stub_broker.actors == {}


@pytest.mark.parametrize("number", range(len(RIGHT)))
def test_what_dramatiq_takes_is_taken(stub_broker: StubBroker, number: int) -> None:
    pgqueue.actor(**RIGHT[number])(work)
    assert list(stub_broker.actors) == ["work"]


def test_an_actor_in_the_place_of_its_name_is_explained() -> None:
    @pgqueue.actor
    def later() -> None: ...

    with pytest.raises(TypeError, match="on_success='later'"):
        pgqueue.actor(on_success=later)(work)


def test_a_middleware_of_the_programs_own_decides_about_its_options(stub_broker: StubBroker) -> None:
    class Owner(Middleware):
        @property
        def actor_options(self) -> set[str]:
            return {"owner"}

        def check_actor_options(self, options: Any) -> None:
            if "owner" not in options:
                raise ValueError("every actor needs an owner")

    stub_broker.add_middleware(Owner())
    with pytest.raises(ValueError, match="needs an owner"):
        pgqueue.actor(work)
    pgqueue.actor(owner="me")(work)


def test_without_the_middleware_its_options_are_anybodys() -> None:
    class Loose(Middleware):
        @property
        def actor_options(self) -> set[str]:
            return {"max_retries"}

    broker = StubBroker(middleware=[Loose()])
    pgqueue.actor(broker=broker, max_retries="as often as it takes")(work)
    assert broker.get_actor("work").options == {"max_retries": "as often as it takes"}


@pytest.mark.parametrize(
    ("fn", "text"),
    [
        ("x", "not 'x'; options are given by name. A name is given as @actor(actor_name='x')"),
        (3, "@actor makes a function an actor, not 3"),
        (functools.partial(work), "has no name that its actor could have"),
    ],
    ids=["a name", "a number", "a partial"],
)
def test_what_is_no_function_is_refused(fn: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        pgqueue.actor(fn)
    assert text in str(caught.value)


def test_a_partial_with_a_name_is_an_actor(stub_broker: StubBroker) -> None:
    pgqueue.actor(actor_name="partial")(functools.partial(work))
    assert list(stub_broker.actors) == ["partial"]


@pytest.mark.parametrize(("kwargs", "options"), [(None, {}), ({}, None)], ids=["kwargs", "options"])
def test_a_message_without_dictionaries_is_refused(kwargs: Any, options: Any) -> None:
    with pytest.raises(TypeError, match="for none, not None"):
        Message("default", "work", (), kwargs, options)
