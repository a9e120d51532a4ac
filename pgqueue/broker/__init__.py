"""What every broker is, what it consumes with, and what it hands to workers.

The process's broker is kept here as ``global_broker``, which programs may read and assign.
"""

from __future__ import annotations

from pgqueue._registry import get_broker, keep_in, set_broker

from .broker import Broker
from .consumer import Consumer
from .proxy import MessageProxy

__all__ = ["Broker", "Consumer", "MessageProxy", "get_broker", "set_broker"]

#: The broker of the process; the same one that :func:`set_broker` sets.
global_broker: Broker | None
keep_in(globals())
