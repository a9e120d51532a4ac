"""pgqueue: Dramatiq's actors on PostgreSQL alone.

The names are Dramatiq's.  This top of the package also says which broker a process has unless told otherwise.
"""

from __future__ import annotations

import warnings
from typing import Any

from ._registry import set_default_factory
from ._running import CurrentTransaction, current_transaction
from .actor import Actor, actor
from .broker import Broker, Consumer, MessageProxy, get_broker, set_broker
from .composition import group, pipeline
from .encoder import Encoder, JSONEncoder, PickleEncoder
from .errors import (
    ActorNotFound,
    BrokerConnectionError,
    BrokerError,
    ConnectionClosed,
    ConnectionFailed,
    DecodeError,
    DramatiqError,
    PgQueueError,
    QueueJoinTimeout,
    QueueNotFound,
    RateLimitExceeded,
    Retry,
)
from .generic import GenericActor
from .logging import get_logger
from .message import Cancellation, Message, MessageStatus, get_encoder, set_encoder
from .middleware import Middleware
from .threading import Cancelled
from .transactions import outside_transaction, transaction
from .worker import ConsumerThread, Worker, WorkerThread

__all__ = [
    "Actor",
    "ActorNotFound",
    "Broker",
    "BrokerConnectionError",
    "BrokerError",
    "Cancellation",
    "Cancelled",
    "ConnectionClosed",
    "ConnectionFailed",
    "Consumer",
    "ConsumerThread",
    "CurrentTransaction",
    "DecodeError",
    "DramatiqError",
    "Encoder",
    "GenericActor",
    "JSONEncoder",
    "Message",
    "MessageProxy",
    "MessageStatus",
    "Middleware",
    "PgQueueError",
    "PickleEncoder",
    "QueueJoinTimeout",
    "QueueNotFound",
    "RateLimitExceeded",
    "Retry",
    "Worker",
    "WorkerThread",
    "actor",
    "current_transaction",
    "get_broker",
    "get_encoder",
    "get_logger",
    "group",
    "outside_transaction",
    "pipeline",
    "set_broker",
    "set_encoder",
    "transaction",
]

__version__ = "0.1.0"


def _default_broker() -> Broker:
    # Imported when it is first needed: programs on the stub broker do without the driver.
    from .brokers.postgres import PostgresBroker  # noqa: PLC0415

    return PostgresBroker()


set_default_factory(_default_broker)


def __getattr__(name: str) -> Any:
    if name == "ConnectionError":
        warnings.warn(
            "pgqueue.ConnectionError is now called BrokerConnectionError.", DeprecationWarning, stacklevel=2
        )
        return BrokerConnectionError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
