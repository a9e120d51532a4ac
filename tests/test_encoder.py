from __future__ import annotations

import enum
import importlib
import json
import uuid
from collections.abc import Callable, Iterator
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


@pytest.fixture(params=["json", "msgspec"])
def json_encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> JSONEncoder:
    """A JSONEncoder as it is without the extra `fast` and with it."""
    if request.param == "json":
        monkeypatch.setattr("pgqueue.encoder.msgspec", None)
    return JSONEncoder()


def without_msgspec() -> JSONEncoder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgqueue.encoder.msgspec", None)
        return JSONEncoder()


@settings(max_examples=50)
@given(data=st.dictionaries(st.text(), json_values))
def test_json_gives_back_what_it_was_given(data: dict[str, Any]) -> None:
    encoder = JSONEncoder()

    assert encoder.decode(encoder.encode(data)) == data


def test_json_is_compact(json_encoder: JSONEncoder) -> None:
    assert json_encoder.encode({"a": [1, 2], "b": "u"}) == b'{"a":[1,2],"b":"u"}'


def test_without_msgspec_json_is_ascii() -> None:
    assert without_msgspec().encode({"b": "ü"}) == b'{"b":"\\u00fc"}'


def test_json_of_other_producers_may_have_spaces_and_plain_letters(json_encoder: JSONEncoder) -> None:
    assert json_encoder.decode(' \n{"a": [1, "ü"]} \n'.encode()) == {"a": [1, "ü"]}


@pytest.mark.parametrize("data", [b"\xff{}", b"", b"{", b'{"a":1} x', b"nonsense", b"[" * 100_000])
def test_bytes_that_are_not_json_are_a_decode_error(json_encoder: JSONEncoder, data: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        json_encoder.decode(data)

    assert caught.value.data == data
    assert caught.value.error is caught.value.__cause__


class Text(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.Enum):
    ONE = "one"


#: Values of which some have no form in JSON, some have one that not everybody writes, and some are subclasses.
odd_values = (
    st.floats()
    | st.integers()
    | st.text(st.characters(exclude_categories=()))
    | st.sampled_from(
        [Text("text"), Number.ONE, Word.ONE, uuid.UUID(int=1), b"bytes", {1}, 1 << 70, -(1 << 63), "\ud800"]
    )
)
odd_keys = st.text() | st.integers() | st.booleans() | st.none() | st.floats() | st.just(Text("key"))
odd_data = st.dictionaries(
    odd_keys,
    st.recursive(
        odd_values,
        lambda children: (
            st.lists(children, max_size=3)
            | st.tuples(children, children)
            | st.dictionaries(odd_keys, children, max_size=3)
        ),
        max_leaves=4,
    ),
    max_size=3,
)


def outcome(call: Callable[[], object]) -> tuple[str, str]:
    """What a call answers, to the type and the last digit (NaN equals nothing), or the type of its error."""
    try:
        return "answer", repr(call())
    except Exception as error:  # noqa: BLE001  # which one is what is compared
        return "error", type(error).__name__


@settings(max_examples=150)
@given(data=odd_data)
def test_whatever_is_sent_arrives_the_same_with_and_without_msgspec(data: dict[Any, Any]) -> None:
    standard, fast = without_msgspec(), JSONEncoder()
    expected = outcome(lambda: standard.decode(standard.encode(data)))

    assert outcome(lambda: fast.decode(fast.encode(data))) == expected
    assert outcome(lambda: standard.decode(fast.encode(data))) == expected
    assert outcome(lambda: fast.decode(standard.encode(data))) == expected


json_texts = st.one_of(
    json_values.map(json.dumps),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1)),
    st.from_regex(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        [
            "NaN",
            "[Infinity]",
            "-Infinity",
            '"\\ud800"',
            '{"a":1,"a":2}',
            "1.",
            "01",
            "-0",
            "[1,]",
            '"\t"',
            "9" * 5000,
        ]
    ),
    st.text(alphabet='{}[]":,0123456789eE.+-truefalsn \\ud', max_size=12),
)


@settings(max_examples=150)
@given(text=json_texts)
def test_any_text_is_read_alike_with_and_without_msgspec(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")

    assert outcome(lambda: JSONEncoder().decode(data)) == outcome(lambda: without_msgspec().decode(data))


def test_a_subclass_that_changes_what_is_encoded_is_asked_whoever_does_the_work(
    json_encoder: JSONEncoder,
) -> None:
    class Stamped(JSONEncoder):
        def encode(self, data: dict[str, Any]) -> bytes:
            return super().encode({**data, "stamp": 1})

        def decode(self, data: bytes) -> dict[str, Any]:
            return {**super().decode(data), "seen": True}

    assert Stamped().decode(Stamped().encode({"a": 1})) == {"a": 1, "stamp": 1, "seen": True}


def test_what_refers_to_itself_is_an_error(json_encoder: JSONEncoder) -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises((ValueError, RecursionError)):
        json_encoder.encode({"a": endless})


def test_an_object_without_a_json_form_is_a_type_error(json_encoder: JSONEncoder) -> None:
    with pytest.raises(TypeError):
        json_encoder.encode({"a": object()})


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
