"""The ring: its states and the statements that turn it. Owns the table slots and the leaves of the other tables."""

from dataclasses import dataclass

from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot: open for inserts, closing (being emptied) or free; ``turn`` orders slots by age."""

    slot: int
    state: str
    turn: int
    first_id: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """What a closing slot still holds, counted up to a limit."""

    ready: int
    leases: int

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return not self.ready and not self.leases


def list_slots(conn: Connection, statements: Statements) -> list[Slot]:
    """All slots, those that have been open longest first."""
    return [Slot(*row) for row in conn.execute(statements["slots/list"])]


def try_lock(conn: Connection, statements: Statements, *, duty: int) -> bool:
    """Take a duty's lock until the end of the transaction, if nobody has it."""
    row = conn.execute(statements["slots/try_lock"], {"duty": duty}).fetchone()
    return bool(row and row[0])


def size(conn: Connection, statements: Statements, *, slot: int) -> tuple[int, int]:
    """How many ids were drawn since the open slot was opened, and how many bytes it has taken; zeros if not open."""
    row = conn.execute(statements.for_slots("slots/size", (slot,))).fetchone()
    return (row[1], row[2]) if row else (0, 0)


def open_slot(conn: Connection, statements: Statements, *, slot: int) -> None:
    """Make ``slot`` the one that takes inserts; the open one begins to close."""
    conn.execute(statements["slots/open"], {"slot": slot})


def left(conn: Connection, statements: Statements, *, slot: int, limit: int) -> Left:
    """What ``slot`` still holds."""
    row = conn.execute(statements.for_slots("slots/left", (slot,)), {"limit": limit}).fetchone()
    return Left(*row) if row else Left(0, 0)


def may_empty(conn: Connection, statements: Statements, *, slot: Slot) -> bool:
    """Whether a slot is still closing as it was when it was listed; ask under the duty's lock."""
    return conn.execute(statements["slots/may_empty"], {"slot": slot.slot, "turn": slot.turn}).rowcount > 0


def repair(conn: Connection, statements: Statements) -> bool:
    """Make good an opening that failed half-way; call it under the duty's lock. Answer whether one had."""
    return conn.execute(statements["slots/repair"]).rowcount > 0


def lock(conn: Connection, statements: Statements, *, slot: int) -> None:
    """Shut everybody out of ``slot`` until the end of the transaction."""
    conn.execute(statements.for_slots("slots/lock", (slot,)))


def evacuate(conn: Connection, statements: Statements, *, slot: int) -> Left:
    """Move what is left in a locked slot to the open one."""
    row = conn.execute(statements.for_slots("slots/evacuate", (slot,))).fetchone()
    return Left(*row) if row else Left(0, 0)


def truncate(conn: Connection, statements: Statements, *, slot: int) -> None:
    """Empty a locked slot and mark it free."""
    conn.execute(statements.for_slots("slots/truncate", (slot,)))
    conn.execute(statements["slots/set_state"], {"slot": slot, "state": "free"})


def reopen_stale(conn: Connection, statements: Statements, *, slot: int) -> bool:
    """Mark a free slot closing if somebody wrote into it after all."""
    return conn.execute(statements.for_slots("slots/reopen_stale", (slot,)), {"slot": slot}).rowcount > 0


def attach(conn: Connection, statements: Statements, *, slot: int) -> None:
    """Add a slot to the ring."""
    # Several statements in one text, which the server does not prepare.
    conn.execute(statements.for_slots("slots/attach", (slot,)), prepare=False)
