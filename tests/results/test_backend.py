"""What every backend of results does."""

from __future__ import annotations

import time
from threading import Timer
from typing import Any

import pytest

from pgqueue.encoder import JSONEncoder, PickleEncoder, set_encoder
from pgqueue.errors import ResultFailure, ResultMissing, ResultTimeout
from pgqueue.message import Message
from pgqueue.results import Missing, ResultBackend
from pgqueue.results.backends import PostgresBackend, StubBackend
from tests.support.eventually import eventually

LONG = 60_000


def message(**fields: Any) -> Message[Any]:
    return Message(
        **{"queue_name": "default", "actor_name": "add", "args": (), "kwargs": {}, "options": {}, **fields}
    )


def test_a_result_is_found_again_and_stays(backend: ResultBackend) -> None:
    sent = message()
    backend.store_result(sent, {"sum": 3}, LONG)
    assert backend.get_result(sent) == {"sum": 3}
    assert backend.get_result(sent) == {"sum": 3}


def test_none_is_a_result(backend: ResultBackend) -> None:
    sent = message()
    backend.store_result(sent, None, LONG)
    assert backend.get_result(sent) is None


def test_a_result_that_is_not_there_is_missing(backend: ResultBackend) -> None:
    sent = message()
    with pytest.raises(ResultMissing) as error:
        backend.get_result(sent)
    assert error.value.args == (sent,)


def test_waiting_for_a_result_ends_with_the_timeout(backend: ResultBackend) -> None:
    sent = message()
    started = time.monotonic()
    with pytest.raises(ResultTimeout) as error:
        backend.get_result(sent, block=True, timeout=100)
    assert 0.1 <= time.monotonic() - started < 5
    assert error.value.args == (sent,)


def test_a_result_that_is_awaited_is_returned(backend: ResultBackend) -> None:
    sent = message()
    storing = Timer(0.05, backend.store_result, (sent, 42, LONG))
    storing.start()
    assert backend.get_result(sent, block=True, timeout=5000) == 42
    storing.join()


def test_a_failure_is_raised(backend: ResultBackend) -> None:
    sent = message()
    backend.store_exception(sent, ValueError("no"), LONG)
    with pytest.raises(ResultFailure, match="actor raised ValueError: no"):
        backend.get_result(sent, block=True)


def test_a_result_is_forgotten_when_its_time_is_over(backend: ResultBackend) -> None:
    sent = message()
    backend.store_result(sent, 1, 30)

    def forgotten() -> None:
        assert backend._get(backend.build_message_key(sent)) is Missing

    eventually(forgotten)


def test_keys_are_digests_unless_told_otherwise() -> None:
    sent = message(message_id="id", queue_name="default.DQ")
    assert len(StubBackend().build_message_key(sent)) == 32
    readable = StubBackend(namespace="mine", use_namespace_prefix_keys=True)
    assert readable.build_message_key(sent) == "mine:default:add:id"


def test_a_delayed_message_has_the_key_of_its_queue(backend: ResultBackend) -> None:
    sent = message()
    assert backend.build_message_key(sent) == backend.build_message_key(sent.copy(queue_name="default.DQ"))
    assert backend.build_message_key(sent) != backend.build_message_key(sent.copy(queue_name="other"))


def test_the_encoder_is_the_processes_at_the_time_of_making() -> None:
    before = StubBackend()
    encoder = PickleEncoder()
    set_encoder(encoder)
    try:
        assert StubBackend().encoder is encoder
    finally:
        set_encoder(before.encoder)
    assert isinstance(before.encoder, JSONEncoder)


def test_instances_in_memory_share_their_results(stub_results: StubBackend) -> None:
    sent = message()
    stub_results.store_result(sent, 1, LONG)
    assert StubBackend().get_result(sent) == 1


def test_what_is_missing_says_so() -> None:
    assert repr(Missing) == "Missing"


def test_a_later_result_takes_the_place_of_an_earlier_one(backend: ResultBackend) -> None:
    sent = message()
    backend.store_exception(sent, ValueError("no"), LONG)
    backend.store_result(sent, 1, LONG)
    assert backend.get_result(sent) == 1


def test_a_backend_that_lacks_a_method_says_which() -> None:
    class Half(ResultBackend):
        pass

    with pytest.raises(NotImplementedError, match=r"Half does not implement _get\(\)"):
        Half().get_result(message())
    with pytest.raises(NotImplementedError, match=r"Half does not implement _store\(\)"):
        Half().store_result(message(), 1, LONG)


def test_the_base_builds_keys_and_a_subclass_may_build_others(stub_results: StubBackend) -> None:
    class Short(StubBackend):
        def build_message_key(self, message: Any) -> str:
            return f"short:{message.message_id}"

    sent = message(message_id="id")
    readable = ResultBackend(namespace="mine", use_namespace_prefix_keys=True)
    assert readable.build_message_key(sent) == "mine:default:add:id"
    assert ResultBackend().namespace == "pgqueue-results"
    Short().store_result(sent, 1, LONG)
    assert set(StubBackend.results) == {"short:id"}


def test_a_result_whose_time_is_over_is_missing_and_waiting_for_it_ends(backend: ResultBackend) -> None:
    sent = message()
    backend.store_result(sent, 1, 1)

    def missing() -> None:
        try:
            found = backend.get_result(sent)
        except ResultMissing:
            return
        raise AssertionError(found)

    eventually(missing)
    with pytest.raises(ResultTimeout):
        backend.get_result(sent, block=True, timeout=50)


def test_results_of_a_pickle_encoder_are_any_objects(database_url: str, stub_results: StubBackend) -> None:
    sent, value = message(), {(1, 2): {3.5}}
    postgres = PostgresBackend(url=database_url, encoder=PickleEncoder())
    for store in (postgres, StubBackend(encoder=PickleEncoder())):
        store.store_result(sent, value, LONG)
        assert store.get_result(sent) == value
    postgres.close()
