"""Hundreds of thousands of messages in each state, made by the server itself in seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.crowd import QUEUE, fill

from .queue import Queue

__all__ = ["crowd"]


def crowd(queue: Queue, **numbers: Any) -> None:
    """Fill the queue ``bulk`` with so many messages: ``ready=``, ``scheduled=``, ``dead=``, ``ended=`` …"""
    # Not on the queue's own connection, which gives a server up that is busy for long.
    fill(queue.database.url, lane=queue.lane(QUEUE), **numbers)
