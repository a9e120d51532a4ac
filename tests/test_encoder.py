from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import pgqueue
from pgqueue import DecodeError, Encoder, JSONEncoder, Message, PickleEncoder, get_encoder, set_encoder

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def encoder_kept() -> Iterator[None]:
    before = get_encoder()
    yield
    set_encoder(before)


@settings(max_examples=50)
@given(data=st.dictionaries(st.text(), json_values))
def test_json_gives_back_what_it_was_given(data: dict[str, Any]) -> None:
    encoder = JSONEncoder()

    assert encoder.decode(encoder.encode(data)) == data


def test_json_is_compact() -> None:
    assert JSONEncoder().encode({"a": [1, 2], "b": "ü"}) == b'{"a":[1,2],"b":"\\u00fc"}'


def test_json_of_other_producers_may_have_spaces_and_plain_letters() -> None:
    assert JSONEncoder().decode(' \n{"a": [1, "ü"]} \n'.encode()) == {"a": [1, "ü"]}


@pytest.mark.parametrize("data", [b"\xff{}", b"", b"{", b'{"a":1} x', b"nonsense", b"[" * 100_000])
def test_bytes_that_are_not_json_are_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        JSONEncoder().decode(data)

    assert caught.value.data == data
    assert caught.value.error is caught.value.__cause__


def test_an_object_without_a_json_form_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        JSONEncoder().encode({"a": object()})


def test_pickle_carries_any_object() -> None:
    encoder = PickleEncoder()

    assert encoder.decode(encoder.encode({"a": {1, 2}, "b": int})) == {"a": {1, 2}, "b": int}


def test_the_default_encoder_is_json() -> None:
    assert isinstance(get_encoder(), JSONEncoder)


def test_messages_use_the_encoder_of_the_moment() -> None:
    message = Message[None]("default", "add", (1,), {}, {})
    as_json = message.encode()

    set_encoder(PickleEncoder())

    assert message.encode() != as_json
    assert Message.decode(message.encode()) == message


def test_programs_may_assign_the_global_encoder() -> None:
    module = importlib.import_module("pgqueue.message")
    encoder = PickleEncoder()

    module.global_encoder = encoder  # type: ignore[attr-defined]  # ModuleType knows no attributes

    assert pgqueue.get_encoder() is encoder
    set_encoder(JSONEncoder())
    assert isinstance(module.global_encoder, JSONEncoder)


def test_encoders_must_define_both_directions() -> None:
    class Half(Encoder):
        def encode(self, data: dict[str, Any]) -> bytes:
            return b""

    with pytest.raises(TypeError):
        Half()  # type: ignore[abstract]
