"""What can go wrong while the queue runs: each fault has a name, under which it is logged and counted.

The table in docs/operations.md explains them. Whoever logs a fault says which (``logger.error(..., fault=...)``);
whoever counts faults watches.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from enum import StrEnum
from types import MethodType

__all__ = ["Fault", "report", "watch"]


class Fault(StrEnum):
    """The faults, by the part in which they are met."""

    # ── connections
    CONNECTION_LOST = "connection_lost"
    LISTENER_FAILED = "listener_failed"
    POLLING = "polling"
    # ── claims, acks
    CLAIM_FAILED = "claim_failed"
    PUT_ASIDE_FAILED = "put_aside_failed"
    ACK_DELAYED = "ack_delayed"
    ACK_FAILED = "ack_failed"
    LEASE_LOST = "lease_lost"
    UNRECORDABLE = "unrecordable"
    RESULT_LOST = "result_lost"
    # ── messages
    UNDECODABLE = "undecodable"
    UNKNOWN_ACTOR = "unknown_actor"
    INVALID_ETA = "invalid_eta"
    POISON = "poison"
    TIME_LIMIT = "time_limit"
    LONG_TRANSACTION = "long_transaction"
    HOOK_FAILED = "hook_failed"
    # ── threads and processes
    THREAD_FAILED = "thread_failed"
    LEFT_BEHIND = "left_behind"
    HEARTBEAT_LATE = "heartbeat_late"
    DECLARED_LOST = "declared_lost"
    WORKER_LOST = "worker_lost"
    PROCESS_DIED = "process_died"
    # ── the keeper's duties
    DUTY_FAILED = "duty_failed"
    CLOCK_JUMPED = "clock_jumped"
    PROMOTION_LATE = "promotion_late"
    ROTATION_BLOCKED = "rotation_blocked"
    SLOTS_SHORT = "slots_short"
    RETENTION_BEHIND = "retention_behind"
    # ── the server
    NOTIFICATIONS_FULL = "notifications_full"
    CONNECTIONS_SHORT = "connections_short"
    LOCKS_SHORT = "locks_short"
    OLD_SNAPSHOT = "old_snapshot"
    IDLE_TRANSACTION = "idle_transaction"


_watchers: list[weakref.WeakMethod[Callable[[Fault], None]]] = []
_lock = threading.Lock()


def watch(call: Callable[[Fault], None]) -> None:
    """Call a method of an object with each fault of this process, as long as the object lives; from any thread."""
    assert isinstance(call, MethodType)  # noqa: S101  (a function would never be let go)
    with _lock:
        _watchers[:] = [each for each in _watchers if each() not in {None, call}]
        _watchers.append(weakref.WeakMethod(call))


def report(fault: Fault) -> None:
    """Tell all who watch of a fault; what they raise, this raises."""
    for watcher in tuple(_watchers):
        call = watcher()
        if call is not None:
            call(fault)
