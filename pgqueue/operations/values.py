"""Values as JSON and people can take them, whatever a sender has put into a message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from math import isfinite, isnan
from typing import Any

__all__ = ["CUT", "DEEPEST", "as_json", "plain"]

#: Levels of a nested value that are shown, far fewer than Python's own limit, and what stands for those below.
DEEPEST, CUT = 250, "(nested too deep to be shown)"

#: Bits of the longest integer that is shown with its digits: Python refuses to write more than 4,300 of them.
MOST_BITS = 14_000

_AS_THEY_ARE = frozenset({str, bool, type(None)})


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON knows them: dataclasses become objects, instants ISO 8601, bytes text.

    What JSON has no form for becomes text: NaN and infinities, endless integers, what is nested too deep, and objects;
    of one that fails to say anything, that it does.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is int or kind is float:
        return _scalar(value)
    try:
        value = _bare(value)
        if isinstance(value, Mapping):
            if depth >= DEEPEST:
                return CUT
            return {str(name): plain(part, depth + 1) for name, part in value.items()}
        if isinstance(value, _LISTS) and not isinstance(value, _NO_LISTS):
            if depth >= DEEPEST:
                return CUT
            parts = [plain(part, depth + 1) for part in value]
            return _sorted(parts) if isinstance(value, (set, frozenset)) else parts
        return _scalar(value)
    except Exception as fault:  # noqa: BLE001  # an application's class may do anything
        return f"<no text: {kind.__name__} raised {type(fault).__name__}>"


#: What has parts that become a list, and what has none, or too many of them to be written.
_LISTS = (Sequence, set, frozenset)
_NO_LISTS = (str, bytes, bytearray, memoryview, range)


def _bare(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return value.value if isinstance(value, Enum) else value


def _sorted(parts: list[Any]) -> list[Any]:
    try:
        return sorted(parts)
    except TypeError:
        return parts


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        bits = int.bit_length(value)
        return value if bits <= MOST_BITS else f"(an integer of {bits:,} bits)"
    if isinstance(value, float):
        if isfinite(value):
            return value
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON that every program reads, with its letters as they are; lone surrogates are escaped."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent, separators=separators)
    return text.encode("utf-8", "backslashreplace").decode()
