"""Which database a broker is for: a URL, ``embedded:``, or what the environment says."""

import os
import re
from collections.abc import Callable

from ..embedded import Server, is_embedded_url, start
from ..errors import BadSetting, BrokerNotConfigured

#: Where a URL is looked for, in this order, if none is given.
VARIABLES = ("PGQUEUE_URL", "DATABASE_URL")

#: Where workers find one of their own.
WORKER_VARIABLE = "PGQUEUE_WORKER_URL"

#: Where a pooler's mode is looked for.
POOLER_VARIABLE = "PGQUEUE_POOLER"


def resolve(url: str | Callable[[], str] | None) -> str | Callable[[], str]:
    """A URL that the driver takes, or a function that answers one, for the bundled server by starting it.

    Raises:
      BrokerNotConfigured: There is none.
    """
    if callable(url):
        return url
    url = url or next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    if url is None:
        raise BrokerNotConfigured
    if is_embedded_url(url):
        return _Embedded(url)
    return re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)


def resolve_worker(url: str | Callable[[], str] | None) -> str | Callable[[], str] | None:
    """The same for the own connections of workers; None if they go where all others go."""
    url = url or os.environ.get(WORKER_VARIABLE)
    return None if url is None else resolve(url)


def keeps_sessions(pooler: str | None) -> bool:
    """Whether a pooler on the way leaves its clients their sessions; in doubt it does not.

    Raises:
      BadSetting: Poolers have no such mode.
    """
    mode = pooler or os.environ.get(POOLER_VARIABLE) or "transaction"
    if mode not in {"session", "transaction"}:
        raise BadSetting(
            f"A pooler works in mode 'session' or 'transaction', not {mode!r}: PostgresBroker(pooler=...) or "
            f"{POOLER_VARIABLE}."
        )
    return mode == "session"


class _Embedded:
    """Starts the bundled server once and keeps hold of it: it stops with the last process that does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._server: Server | None = None

    def __call__(self) -> str:
        self._server = self._server or start(self._url)
        return self._server.url
