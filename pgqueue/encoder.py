"""How messages and results become bytes and back, and which encoder the process uses."""

from __future__ import annotations

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from typing import Any, TypeAlias

from .errors import DecodeError

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
    """Compact JSON, in UTF-8: the default."""

    def __init__(self) -> None:
        # json.dumps() builds an encoder a call whenever an argument is not the default: 1.5 µs a message.
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        self._decoder = json.JSONDecoder()

    def encode(self, data: MessageData) -> bytes:
        """Return ``data`` as JSON; an object that JSON has no form for raises TypeError."""
        return self._encode(data).encode("utf-8")

    def decode(self, data: bytes) -> MessageData:
        """Return what the JSON text says."""
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
