from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgqueue import DecodeError, Message, set_broker
from pgqueue.broker import Broker
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import generate_unique_id
from pgqueue.results import Results
from pgqueue.results.backends import StubBackend


def make(*args: Any, **options: Any) -> Message[Any]:
    return Message("default", "add", args, {}, options)


def test_ids_are_random_uuids() -> None:
    ids = {generate_unique_id() for _ in range(1000)}

    assert len(ids) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_a_message_gets_an_id_and_a_timestamp() -> None:
    message = make()

    assert uuid.UUID(message.message_id).version == 4
    assert abs(message.message_timestamp - time.time() * 1000) < 1000


def test_the_fields_are_in_dramatiqs_order() -> None:
    message = Message[None]("queue", "actor", (1,), {"a": 2}, {"b": 3}, "id", 4)

    assert list(message.asdict().items()) == [
        ("queue_name", "queue"),
        ("actor_name", "actor"),
        ("args", (1,)),
        ("kwargs", {"a": 2}),
        ("options", {"b": 3}),
        ("message_id", "id"),
        ("message_timestamp", 4),
    ]
    assert message._fields == tuple(field.name for field in dataclasses.fields(message))


def test_arguments_become_a_tuple_and_dictionaries_stay_the_caller_s() -> None:
    kwargs: dict[str, Any] = {}
    options: dict[str, Any] = {}

    message = Message[None]("default", "add", [1, 2], kwargs, options)

    assert message.args == (1, 2)
    assert message.kwargs is kwargs
    assert message.options is options
    assert message.asdict()["options"] is options
    assert message._asdict()["options"] is options


def test_a_message_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().queue_name = "other"  # type: ignore[misc]


def test_a_copy_merges_options_into_a_dictionary_of_its_own() -> None:
    message = make(a=1, b=2)

    copied = message.copy(queue_name="other", options={"b": 3})

    assert copied.queue_name == "other"
    assert copied.options == {"a": 1, "b": 3}
    assert copied.message_id == message.message_id
    assert message.options == {"a": 1, "b": 2}
    assert message.copy().options is not message.options


def test_replacing_options_does_not_merge_them() -> None:
    assert make(a=1)._replace(options={"b": 2}).options == {"b": 2}
    assert make()._field_defaults == {}


def test_messages_are_equal_by_value_and_ordered_as_tuples() -> None:
    message = make(1)
    first = Message[None]("a", "z", (), {}, {}, "id", 1)
    second = Message[None]("b", "a", (), {}, {}, "id", 1)

    assert message == message.copy()
    assert message != make(1)
    assert first < second
    assert sorted([second, first]) == [first, second]


def test_a_message_reads_as_a_call() -> None:
    assert str(Message[None]("default", "add", (1, "x"), {"key": 2}, {})) == "add(1, 'x', key=2)"
    assert repr(make(1)).startswith("Message(queue_name='default', actor_name='add', args=(1,), kwargs={}")


@given(millis=st.integers(0, 253_402_300_799_999))
def test_the_datetime_is_the_timestamp_exactly(millis: int) -> None:
    message = Message[None]("default", "add", (), {}, {}, "id", millis)

    assert message.message_datetime.timestamp() == millis / 1000
    assert message.message_datetime.utcoffset() == timedelta(0)


def test_messages_survive_copying_and_pickling() -> None:
    message = make(1, a=2)

    assert copy.copy(message) == message
    assert copy.deepcopy(message) == message
    assert pickle.loads(pickle.dumps(message)) == message


def test_the_wire_format_is_one_json_object() -> None:
    message = Message[None]("default", "add", (1,), {"a": None}, {}, "id", 5)

    assert message.encode() == (
        b'{"queue_name":"default","actor_name":"add","args":[1],"kwargs":{"a":null},'
        b'"options":{},"message_id":"id","message_timestamp":5}'
    )
    assert Message.decode(message.encode()) == message


FIELDS = json.loads(Message[None]("default", "add", (), {}, {}, "id", 5).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        json.dumps({**FIELDS, "surplus": 1}).encode(),
        json.dumps({**FIELDS, "args": None}).encode(),
        json.dumps({**FIELDS, "options": None}).encode(),
        json.dumps({**FIELDS, "kwargs": []}).encode(),
        json.dumps({**FIELDS, "queue_name": 5}).encode(),
        json.dumps({**FIELDS, "message_timestamp": "now"}).encode(),
    ],
)
def test_whatever_is_not_a_message_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        Message.decode(data)

    assert caught.value.data == data
    assert caught.value.error is caught.value.__cause__
    assert isinstance(caught.value.error, Exception)


def test_results_come_from_the_process_s_broker(stub_broker: StubBroker) -> None:
    backend = StubBackend()
    stub_broker.add_middleware(Results(backend=backend))
    message = make()
    backend.store_result(message, 42, 1000)

    assert message.get_result() == 42
    assert message.get_result(backend=backend, block=True, timeout=100) == 42


def test_without_a_results_backend_there_are_no_results(stub_broker: StubBroker) -> None:
    set_broker(Broker(middleware=[]))

    with pytest.raises(RuntimeError, match="Results"):
        make().get_result()


def test_one_that_can_not_be_encoded_is_named_with_a_way_out(stub_broker: StubBroker) -> None:
    """The exception is the encoder's own, as in Dramatiq; what else there is to say is a note of it."""
    stub_broker.declare_queue("default")
    message = make(object())
    with pytest.raises(TypeError, match="not JSON serializable") as caught:
        stub_broker.enqueue(message)
    # Ours is the last; Python 3.14's json says in notes where in the message it stands.
    note = caught.value.__notes__[-1]
    assert message.message_id in note
    assert "'add'" in note
    assert "JSONEncoder" in note
