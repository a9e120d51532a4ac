"""Results in the memory of one process, for tests."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pgqueue.results.backend import Missing, ResultBackend

__all__ = ["StubBackend"]


class StubBackend(ResultBackend):
    """Keeps encoded results in a dictionary that all instances share."""

    #: The bytes of each key, and the instant on the monotonic clock from which on they do not count any more.
    results: ClassVar[dict[str, tuple[bytes, float]]] = {}

    def _get(self, message_key: str) -> Any:
        data, expires_at = self.results.get(message_key, (b"", 0.0))
        if time.monotonic() < expires_at:
            return self.encoder.decode(data)
        self.results.pop(message_key, None)
        return Missing

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        self.results[message_key] = self.encoder.encode(result), time.monotonic() + ttl / 1000
