"""The worker's settings that come from the environment, as constants of the package `pgqueue.worker`.

They are read when pgqueue is imported, also by programs that only send: what is wrong with them is told by `check`.
"""

from __future__ import annotations

import sys
from typing import cast

from ..common import getenv_int
from ..errors import BadSetting

__all__ = [
    "ACK_RETRY_DELAY",
    "CONSUMER_RESTART_DELAY",
    "CONSUMER_RESTART_DELAY_SECS",
    "DELAY_QUEUE_PREFETCH",
    "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS",
    "QUEUE_PREFETCH",
    "WORKER_TIMEOUT",
    "ack_retry_delay_s",
    "check",
    "current",
    "restart_delay_s",
]

_wrong: list[BadSetting] = []


def _setting(name: str, default: int) -> int:
    try:
        return getenv_int(name, default)
    except BadSetting as error:
        _wrong.append(error)
        return default


#: Messages fetched and not yet acknowledged, per queue and worker; 0 stands for twice the number of threads.
QUEUE_PREFETCH = _setting("pgqueue_queue_prefetch", 0)

#: The same for delayed messages; 0 stands for a thousand times the number of threads.
DELAY_QUEUE_PREFETCH = _setting("pgqueue_delay_queue_prefetch", 0)

#: Milliseconds before a consumer that has lost its connection tries again.
CONSUMER_RESTART_DELAY = _setting("pgqueue_restart_delay", 3000)

#: The same in seconds, the name that Dramatiq reads; whichever of the two was changed counts.
CONSUMER_RESTART_DELAY_SECS = CONSUMER_RESTART_DELAY / 1000

#: Milliseconds between two tries to acknowledge a message while the broker can't be reached.
ACK_RETRY_DELAY = 5000

#: The same in seconds, by Dramatiq's name; whichever of the two was changed counts.
POST_PROCESS_MESSAGE_RETRY_DELAY_SECS = ACK_RETRY_DELAY / 1000

#: Milliseconds between two looks at what else there is to do, for idle threads.
WORKER_TIMEOUT = _setting("pgqueue_worker_timeout", 1000)


def check() -> None:
    """See whether the environment could be read.

    Raises:
      BadSetting: It holds what is no number.
    """
    if _wrong:
        raise BadSetting(str(_wrong[0]))


def current(name: str) -> int:
    """Return the constant ``name`` as it is now in `pgqueue.worker`, where programs and their tests change it."""
    return cast(int, getattr(sys.modules[__package__], name))


def restart_delay_s() -> float:
    """Seconds before a consumer that has lost its connection tries again."""
    return _seconds("CONSUMER_RESTART_DELAY_SECS", CONSUMER_RESTART_DELAY_SECS, "CONSUMER_RESTART_DELAY")


def ack_retry_delay_s() -> float:
    """Seconds between two tries to acknowledge a message."""
    return _seconds(
        "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", POST_PROCESS_MESSAGE_RETRY_DELAY_SECS, "ACK_RETRY_DELAY"
    )


def _seconds(name: str, unchanged: float, in_milliseconds: str) -> float:
    seconds: float = getattr(sys.modules[__package__], name)
    return seconds if seconds != unchanged else current(in_milliseconds) / 1000
