"""Messages as somebody writes them who wishes the operators ill, or who has a fault."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from pgqueue.storage import results
from pgqueue.storage.results import StoredResult

from .queue import Queue

__all__ = ["HOSTILE", "MARKUP", "put_all", "strict"]

MARKUP = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>"


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _objects(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"options": value, "actor_name": "x"}
    return value


LARGE = "eight-megabytes"

#: Values by what is wrong with them, all of which JSON as Python writes it can carry.
HOSTILE: dict[str, Any] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus-infinity": float("-inf"),
    "lone-surrogate": "a\ud800b",
    "nul": "a\0b",
    "nested": _nested(900),
    "nested-objects": _objects(400),
    "nested-to-the-brim": _nested(250),
    LARGE: "x" * 8_000_000,
    "huge-number": 10**4_000,
    "huge-float": -1e308,
    "huge-seconds": -(10**30),
    "true": True,
    "null": None,
    "nothing": "",
    "list": [[], {}, [None, {"": ""}]],
    "escapes": "\x1b]0;owned\x07\x9b31m\r\n\x08\u202e\u2028\N{GRINNING FACE}",
    "markup": MARKUP,
    "address": "//evil.example/\\evil?id=%00&x=%ff#",
}


def _payloads(name: str, value: Any) -> dict[str, bytes]:
    """Messages with a value in each place in which it can stand, by their ids."""
    call = {"actor_name": value, "message_id": value, "args": value, "kwargs": value, "options": value}
    options = {
        **dict.fromkeys(
            (
                "retries", "traceback", "max_age", "on_success", "on_failure", "group_completion_uuid", "pgqueue_ahead",
                "requeue_timestamp", "priority", "eta",
            ),
            value,
        ),
        "pipe_target": call,
        "group_completion_callbacks": [call, value],
    }  # fmt: skip
    fields = {"queue_name": "default", "actor_name": "actor", "message_timestamp": 1_700_000_000_000}
    is_number = isinstance(value, (int, float))
    made = {
        f"{name}-arguments": {**fields, "args": [value], "kwargs": {"k": value, str(value)[:1_000]: 1}, "options": {}},
        f"{name}-options": {**fields, "args": [], "kwargs": {}, "options": options},
        f"{name}-alone": {**fields, "args": [], "kwargs": {}, "options": {"pipe_target": value}},
        f"{name}-fields": {**fields, "args": value, "kwargs": {}, "options": {}},
        f"{name}-age": {
            **fields, "message_timestamp": value if is_number else 1, "args": [], "kwargs": {},
            "options": {"max_age": 5, "retries": value, "traceback": str(value)[:1_000]},
        },
        f"{name}-no-message": value,
    }  # fmt: skip
    return {
        id_: json.dumps({**one, "message_id": id_} if isinstance(one, dict) else one).encode()
        for id_, one in made.items()
    }


def put_all(queue: Queue) -> list[str]:
    """Put the messages, by turns as a ready one, a scheduled one and a dead letter; return their ids."""
    ids = []
    for number, (name, value) in enumerate(HOSTILE.items()):
        payloads = _payloads(name, value if name != LARGE else "large")
        if name == LARGE:  # once is enough
            fields = json.loads(payloads[f"{name}-arguments"])
            payloads = {f"{name}-arguments": json.dumps({**fields, "args": [value]}).encode()}
        for turn, (id_, payload) in enumerate(payloads.items(), start=number):
            if turn % 3 == 0:
                queue.send_all([queue.new(payload, message_id=id_)])
            elif turn % 3 == 1:
                later = queue.new(payload, message_id=id_, delay_ms=3_600_000)
                queue.send_all([replace(later, actor_name=MARKUP)])
            else:
                _bury(queue, id_, payload, str(value)[:3_000])
            ids.append(id_)
        for data in (b"junk", json.dumps(value).encode()):
            _return(queue, f"{name}-arguments", data)
    return ids


def _return(queue: Queue, id_: str, data: bytes) -> None:
    """Keep a result for a message, whichever of the two names its actor has."""
    for queue_name, actor in (("default", "actor"), ("default", MARKUP), (MARKUP, MARKUP)):
        key = f"pgqueue-results:{queue_name}:{actor}:{id_}".encode()
        digest = hashlib.md5(key, usedforsecurity=False).hexdigest()
        results.store(queue.conn, queue.statements, result=StoredResult(digest, data, ttl_ms=3_600_000))


def _bury(queue: Queue, id_: str, payload: bytes, error: str) -> None:
    kept = error.replace("\0", "").encode("utf-8", "replace").decode()
    queue.lane(MARKUP)
    queue.conn.execute(
        """INSERT INTO pgqueue.dead_letters
            (message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error, traceback, payload)
        VALUES (md5(%(id)s)::uuid, %(id)s, %(name)s, 0, %(name)s, 0, %(name)s, %(error)s, %(error)s, %(payload)s)""",
        {"id": id_, "name": MARKUP, "error": kept, "payload": payload},
    )


def strict(text: str) -> Any:
    """What JSON says, if it is JSON to every program: NaN and infinities are not."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)
