"""What the model of messages' lives knows: of each message, and of each worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.storage.messages import ClaimedMessage


@dataclass
class Expected:
    """What the model knows of a message, which is told by its payload."""

    priority: int
    #: ``open`` (its transaction), ``gone`` (rolled back), ``waiting``, ``held``, ``done``, ``dead``, ``carried on``
    state: str
    due_at: datetime | None = None
    attempts: int = 0


@dataclass
class Holder:
    """A worker's process: a fetcher, its names, and what it holds."""

    fetcher: Fetcher
    leases: Leases
    held: dict[str, ClaimedMessage] = field(default_factory=dict)
    #: What it had held when it was declared lost.
    lost: dict[str, ClaimedMessage] = field(default_factory=dict)
