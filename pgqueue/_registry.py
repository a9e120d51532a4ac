"""The process's broker, and how to make one when nobody has set it."""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from .errors import BrokerNotConfigured

if TYPE_CHECKING:
    from .broker import Broker

__all__ = ["get_broker", "set_broker", "set_default_factory"]

# Programs read and assign `pgqueue.broker.global_broker`.  So the broker is kept in a namespace that the
# broker module replaces by its own: then a plain assignment there, or a test's patch, is all it takes.
_home: MutableMapping[str, Any] = {"global_broker": None}
_make_default: Callable[[], Broker] | None = None
_lock = threading.RLock()


def keep_in(namespace: MutableMapping[str, Any]) -> None:
    """Move the process's broker into a module's globals, as ``global_broker``."""
    global _home  # noqa: PLW0603  # one of the three places for global state (house rule 28)
    namespace["global_broker"] = _home["global_broker"]
    _home = namespace


def set_default_factory(factory: Callable[[], Broker] | None) -> None:
    """Say how :func:`get_broker` makes a broker when none was set."""
    global _make_default  # noqa: PLW0603
    _make_default = factory


def get_broker() -> Broker:
    """Return the process's broker; the first call makes the default one.

    Raises:
      BrokerNotConfigured: There is none, and nothing says which database a default one should use.
    """
    broker: Broker | None = _home["global_broker"]
    return _make_broker() if broker is None else broker


def _make_broker() -> Broker:
    # The lock lets two threads that ask at the same time get the same one.
    with _lock:
        broker: Broker | None = _home["global_broker"]
        if broker is None:
            if _make_default is None:
                raise BrokerNotConfigured
            broker = _home["global_broker"] = _make_default()
        return broker


def set_broker(broker: Broker | None) -> None:
    """Make ``broker`` the process's broker; actors declared before keep theirs.

    Parameters:
      broker: None forgets the present one, so that the next :func:`get_broker` makes the default.
    """
    _home["global_broker"] = broker
