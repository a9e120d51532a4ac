"""Arrays as statement parameters, without the driver's look at each element (a third of an ack's processor time).

Numbers and UUIDs go as text literals, which the server reads fast; texts and bytes as packed binary arrays, which need
no quoting. A column in which every value is None is an empty array: ``unnest`` fills the shorter ones with NULL.
"""

from collections.abc import Sequence
from itertools import chain
from struct import Struct
from typing import TypeAlias

import psycopg
from psycopg.adapt import AdaptersMap, Buffer, Dumper, PyFormat
from psycopg.pq import Format

_HEADER = Struct("!iiIii")  # dimensions, holds NULLs, element type, length, lower bound
_LENGTH = Struct("!i").pack
_NULL = _LENGTH(-1)
_BYTEA, _TEXT = 17, 25


class PackedTexts(bytes):
    """A ``text[]`` in the server's binary form."""

    __slots__ = ()


class PackedBlobs(bytes):
    """A ``bytea[]`` in the server's binary form."""

    __slots__ = ()


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Buffer) -> Buffer:
        return obj


class _PackedTextsDumper(_PackedDumper):
    oid = 1009


class _PackedBlobsDumper(_PackedDumper):
    oid = 1001


psycopg.adapters.register_dumper(PackedTexts, _PackedTextsDumper)
psycopg.adapters.register_dumper(PackedBlobs, _PackedBlobsDumper)


def register_packed(adapters: AdaptersMap) -> None:
    """Make packed arrays known to a connection that is older than this module: an application's, perhaps."""
    if adapters.get_dumper(PackedTexts, PyFormat.AUTO) is not _PackedTextsDumper:
        adapters.register_dumper(PackedTexts, _PackedTextsDumper)
        adapters.register_dumper(PackedBlobs, _PackedBlobsDumper)


class Texts(list[str | None]):
    """A ``text[]`` that is not yet in a driver's form."""


class Blobs(list[bytes]):
    """A ``bytea[]`` that is not yet in a driver's form."""


#: A parameter that every driver can be given: text goes as it is.
Value: TypeAlias = str | Texts | Blobs | None


def packed(value: Value) -> object:
    """The form that psycopg is given."""
    if isinstance(value, Texts):
        return texts(value)
    return blobs(value) if isinstance(value, Blobs) else value


def literal(value: Value) -> str | None:
    """The form that any driver can bind: text, an array as the server writes it."""
    if isinstance(value, Texts):
        return "{" + ",".join(["NULL" if text is None else _quoted(text) for text in value]) + "}"
    if isinstance(value, Blobs):
        return "{" + ",".join([f'"\\\\x{blob.hex()}"' for blob in value]) + "}"
    return value


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def plain(values: Sequence[object]) -> str:
    """An array literal of numbers, UUIDs or words without special characters; None is NULL."""
    if not any(value is not None for value in values):
        return "{}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def integers(values: Sequence[int]) -> str:
    """An array literal of integers."""
    return "{" + ",".join(map(str, values)) + "}"


def texts(values: Sequence[str | None]) -> PackedTexts:
    """A ``text[]``."""
    if not any(value is not None for value in values):
        return PackedTexts(_HEADER.pack(0, 0, _TEXT, 0, 1)[:12])
    return PackedTexts(_packed([None if value is None else value.encode() for value in values], _TEXT))


def blobs(values: Sequence[bytes]) -> PackedBlobs:
    """A ``bytea[]``."""
    if not values:
        return PackedBlobs(_HEADER.pack(0, 0, _BYTEA, 0, 1)[:12])
    return PackedBlobs(_packed(values, _BYTEA))


def _packed(values: Sequence[bytes | None], element: int) -> bytes:
    header = _HEADER.pack(1, 1, element, len(values), 1)
    parts = ((_NULL,) if value is None else (_LENGTH(len(value)), value) for value in values)
    return header + b"".join(chain.from_iterable(parts))
