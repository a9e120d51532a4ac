"""How messages and results become bytes and back, and which encoder the process uses."""

from __future__ import annotations

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from math import isfinite
from typing import Any, TypeAlias

from .errors import DecodeError

try:
    import msgspec
except ImportError:
    msgspec = None  # type: ignore[assignment]  # the extra `fast` is not installed

__all__ = ["Encoder", "JSONEncoder", "MessageData", "PickleEncoder", "get_encoder", "set_encoder"]

#: What encoders work on: a message's fields by name.
MessageData: TypeAlias = dict[str, Any]


class Encoder(ABC):
    """Turns a dictionary into bytes and back."""

    @abstractmethod
    def encode(self, data: MessageData) -> bytes:
        """Return the bytes that stand for ``data``."""

    @abstractmethod
    def decode(self, data: bytes) -> MessageData:
        """Return what was encoded.

        Raises:
          DecodeError: The bytes were not made by this encoder.
        """


class JSONEncoder(Encoder):
    """Compact JSON, in UTF-8: the default.

    With the extra ``fast`` msgspec does the work, wherever it does it as Python's json would. Everything else (NaN,
    keys that are no strings, subclasses, lone surrogates, errors) is left to json, so that nothing but the speed and
    the spelling of letters beyond ASCII tells the two apart.
    """

    def __init__(self) -> None:
        # json.dumps() builds an encoder a call whenever an argument is not the default: 1.5 µs a message.
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self._decoder = json.JSONDecoder()
        self._fast = None if msgspec is None else _FastJSON()

    def encode(self, data: MessageData) -> bytes:
        """Return ``data`` as JSON; an object that JSON has no form for raises TypeError."""
        if self._fast is not None and (encoded := self._fast.encode(data)) is not None:
            return encoded
        return self._encode(data).encode("utf-8")

    def decode(self, data: bytes) -> MessageData:
        """Return what the JSON text says."""
        if self._fast is not None and (fast := self._fast.decode(data)) is not None:
            return fast
        try:
            decoded = self._parse(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"{len(data)} bytes are not JSON: {error}", data, error) from error
        return decoded

    def _parse(self, text: str) -> MessageData:
        # raw_decode() leaves out the search for white space around the text, which we never write: 1 µs.
        parsed: MessageData
        if text.startswith("{"):
            parsed, end = self._decoder.raw_decode(text)
            if end == len(text):
                return parsed
        parsed = self._decoder.decode(text)
        return parsed


class _FastJSON:
    """The part of JSON in which msgspec and Python's json agree; None stands for all that is left to json."""

    def __init__(self) -> None:
        self._encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
        self._decode: Callable[[bytes], MessageData] = msgspec.json.Decoder().decode
        self._refusals = (msgspec.MsgspecError, ValueError, RecursionError)

    def encode(self, data: MessageData) -> bytes | None:
        try:
            return self._encode(data) if _is_plain(data) else None
        except self._refusals:
            return None

    def decode(self, data: bytes) -> MessageData | None:
        try:
            return self._decode(data)
        except self._refusals:
            return None


def _is_plain(value: Any) -> bool:
    """Whether ``value`` holds nothing but what both write alike.

    msgspec also writes dates, sets, bytes and enumerations, which json refuses, and NaN as null. Loops, not all():
    this is called for each message that is sent, and generators would take up what is won.
    """
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (type(item) not in _PLAIN and not _is_plain(item)):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:  # noqa: SIM110  # a loop, as said
            if type(item) not in _PLAIN and not _is_plain(item):
                return False
        return True
    return kind in _PLAIN or (kind is float and isfinite(value))


_PLAIN = frozenset({str, int, bool, type(None)})


class PickleEncoder(Encoder):
    """Pickle: carries any Python object, and must only be used where every writer to the queue is trusted."""

    def encode(self, data: MessageData) -> bytes:
        """Return ``data`` pickled."""
        return pickle.dumps(data)

    def decode(self, data: bytes) -> MessageData:
        """Return the unpickled object."""
        decoded: MessageData = pickle.loads(data)  # noqa: S301  # the class says so
        return decoded


# Programs read and assign `pgqueue.message.global_encoder`.  So the encoder is kept in a namespace that the
# message module replaces by its own: then a plain assignment there, or a test's patch, is all it takes.
_home: MutableMapping[str, Any] = {"global_encoder": JSONEncoder()}


def keep_in(namespace: MutableMapping[str, Any]) -> None:
    """Move the process's encoder into a module's globals, as ``global_encoder``."""
    global _home  # noqa: PLW0603  # one of the three places for global state (house rule 28)
    namespace["global_encoder"] = get_encoder()
    _home = namespace


def get_encoder() -> Encoder:
    """Return the process's encoder."""
    encoder: Encoder = _home["global_encoder"]
    return encoder


def set_encoder(encoder: Encoder) -> None:
    """Make ``encoder`` the process's encoder; producers and workers must agree on it."""
    _home["global_encoder"] = encoder
