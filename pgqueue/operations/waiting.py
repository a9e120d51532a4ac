"""Who waits for a lock on our tables, in words, and what would end that."""

from __future__ import annotations

from dataclasses import dataclass

from ..storage.health import LockWait
from .wording import span

__all__ = ["Waiting", "told"]

#: Seconds that a session may wait for a lock before that is worth a warning: our own wait 50 ms at most.
LONG_S = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A wait for a lock, told.

    Attributes:
      found: Who waits for what, and who holds it.
      remedy: What would end it.
      long: Whether it is worth a warning.
    """

    found: str
    remedy: str
    long: bool


def told(wait: LockWait) -> Waiting:
    """Tell of a wait."""
    for_what = "a row" if wait.mode in {"ShareLock", "ExclusiveLock"} else f"the {wait.mode}"
    since = "" if wait.waited_s is None else f" for {span(wait.waited_s)}"
    found = (
        f"session {_session(wait.pid, wait.who)} has been waiting{since} for {for_what} of {wait.table_name}, "
        f"which {_holder(wait)}"
    )
    return Waiting(found, _remedy(wait), (wait.waited_s or 0.0) >= LONG_S)


def _session(pid: int, who: str) -> str:
    return f"{pid} ({who})" if who else str(pid)


def _holder(wait: LockWait) -> str:
    if wait.blocker_pid == 0:
        return "a prepared transaction holds"
    name = f"session {_session(wait.blocker_pid, wait.blocker_who)} holds"
    if wait.blocker_state is None:
        return f"{name}; what it does can't be seen by this role"
    age = "" if wait.blocker_s is None else f", its transaction open for {span(wait.blocker_s)}"
    query = " ".join((wait.blocker_query or "").split())[:200]
    return f"{name} ({wait.blocker_state}{age}): {query}"


def _remedy(wait: LockWait) -> str:
    if wait.blocker_pid == 0:
        return "see pg_prepared_xacts, then COMMIT PREPARED or ROLLBACK PREPARED"
    end = f'psql -c "SELECT pg_terminate_backend({wait.blocker_pid})"'
    if (wait.blocker_state or "").startswith("idle in transaction"):
        return f"{end}, and set idle_in_transaction_session_timeout"
    if wait.blocker_state is None:
        return f"GRANT pg_read_all_stats TO the role, to see what it does; {end} ends it"
    return f'let it end, or psql -c "SELECT pg_cancel_backend({wait.blocker_pid})"'
