"""Turns the ring of slots: opens the next, empties the old ones by TRUNCATE."""

import time
from itertools import count

from psycopg import errors

from ..faults import Fault
from ..logging import own_logger
from ..storage import registers, slots
from ..storage.database import Connection
from ..storage.slots import Slot
from ..storage.statements import Statements
from .duty import ROTATION, Again, Alarm, Duty

#: A slot that has taken so many messages, or so many bytes, makes room for the next: dead rows cost up to 20 ms per
#: 100,000 wherever a position is missing.
MAX_MESSAGES = 60_000
MAX_BYTES = 256 * 1024 * 1024

#: Seconds between two looks while messages flow, and while nothing happens.
BUSY_S, QUIET_S = 0.25, 1.0

#: Up to so many stragglers of a closing slot are moved forward, when they have been so few for so many seconds, or at
#: once when free slots run short.
FEW, PATIENCE_S = 1_000, 5.0

#: With fewer free slots than this the ring grows, up to the limit.
MIN_FREE, MAX_SLOTS = 2, 64

#: How long to wait for a slot's lock, in ms: anybody who wants the slot queues behind us for as long.
LOCK_TIMEOUT_MS = 20

#: Every so many runs the free slots are searched for rows of a producer that read the register before a rotation.
STALE_EVERY = 5

#: A slot that takes longer than so many seconds to be emptied is worth a word.
SLOW_S = 600.0

logger = own_logger(__name__)


class Rotator(Duty):
    """One keeper at a time turns the ring. Each step is a transaction of its own and leaves the ring whole."""

    first_within_s = QUIET_S

    def __init__(
        self, statements: Statements, *, max_messages: int = MAX_MESSAGES, patience_s: float = PATIENCE_S
    ) -> None:
        super().__init__(statements)
        self._max_messages = max_messages
        self._patience_s = patience_s
        self._runs = count()
        self._few_since: dict[int, float] = {}
        self._alarm = Alarm()

    def run_once(self, conn: Connection) -> Again:
        """Open the next slot if it is time, empty those that are closing."""
        ring = slots.list_slots(conn, self.statements)
        self._tell_of_slow(ring)
        opened = self._open_next(conn, ring)
        if opened:
            registers.bump_catalog(conn, self.statements)
        emptied = self._empty_closing(conn, ring)
        if opened or next(self._runs) % STALE_EVERY == 0:
            self._repair(conn)
            self._find_stale(conn, ring)
        if emptied:
            registers.bump_catalog(conn, self.statements)
        busy = opened or any(slot.state == "closing" for slot in ring)
        return Again(BUSY_S if busy else QUIET_S)

    def _open_next(self, conn: Connection, ring: list[Slot]) -> bool:
        current = next(slot for slot in ring if slot.state == "open")
        if not self._has_enough(conn, current):
            return False
        free = [slot for slot in ring if slot.state == "free"]
        if len(free) < MIN_FREE and len(ring) < MAX_SLOTS:
            self._grow(conn, ring)
        if self._alarm.begins("short", present=not free):
            logger.warning(
                "No slot is free: slot %d takes more than its share until another has been emptied.", current.slot,
                fault=Fault.SLOTS_SHORT,
            )  # fmt: skip
        with conn.transaction():
            if not free or not slots.try_lock(conn, self.statements, duty=ROTATION):
                return False
            if self._moved_on(conn, current):
                return False
            slots.open_slot(conn, self.statements, slot=free[0].slot)
        return True

    def _tell_of_slow(self, ring: list[Slot]) -> None:
        slow = next((slot for slot in ring if slot.state == "closing" and slot.age_s > SLOW_S), None)
        if self._alarm.begins("slow", present=slow is not None) and slow is not None:
            logger.warning(
                "Slot %d could not be emptied for %.0f s: a backlog is in it, or a transaction that wrote into it is "
                "open.", slow.slot, slow.age_s, fault=Fault.ROTATION_BLOCKED,
            )  # fmt: skip

    def _has_enough(self, conn: Connection, current: Slot) -> bool:
        taken, size = slots.size(conn, self.statements, slot=current.slot)
        return taken >= self._max_messages or size >= MAX_BYTES

    def _moved_on(self, conn: Connection, current: Slot) -> bool:
        return not any(
            slot.slot == current.slot and slot.state == "open" and slot.turn == current.turn
            for slot in slots.list_slots(conn, self.statements)
        )

    def _grow(self, conn: Connection, ring: list[Slot]) -> None:
        new = max(slot.slot for slot in ring) + 1
        try:
            with conn.transaction():
                conn.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS * 10}")
                if slots.try_lock(conn, self.statements, duty=ROTATION):
                    slots.attach(conn, self.statements, slot=new)
        except (errors.LockNotAvailable, errors.DuplicateTable, errors.UniqueViolation) as error:
            logger.info("Slot %d can't be attached now, next try at the next rotation: %s", new, error)
        except errors.InsufficientPrivilege:
            logger.warning(
                "Slots run short and this role may not add any: see `pgqueue migrate` for the role to use.",
                fault=Fault.SLOTS_SHORT,
            )

    def _empty_closing(self, conn: Connection, ring: list[Slot]) -> bool:
        short = sum(slot.state == "free" for slot in ring) < MIN_FREE
        closing = [slot for slot in ring if slot.state == "closing"]
        return sum(self._empty(conn, slot, hurry=short) for slot in closing) > 0

    def _empty(self, conn: Connection, slot: Slot, *, hurry: bool) -> bool:
        left = slots.left(conn, self.statements, slot=slot.slot, limit=FEW + 1)
        if not left.empty and not self._may_move(slot, left, hurry=hurry):
            return False
        try:
            moved = self._truncate(conn, slot)
        except errors.LockNotAvailable:
            return False  # somebody reads or writes there: at the next look
        if moved is not None and not moved.empty:
            registers.bump_rewind(conn, self.statements)
            registers.wake(conn, self.statements)
            logger.info(
                "Moved %d ready messages and %d leases out of slot %d.", moved.ready, moved.leases, slot.slot
            )
        return moved is not None

    def _may_move(self, slot: Slot, left: slots.Left, *, hurry: bool) -> bool:
        """Whether what is left are stragglers: few, and they have been few for a while."""
        if left.ready > FEW or left.leases > FEW:
            self._few_since.pop(slot.turn, None)
            return False
        few_since = self._few_since.setdefault(slot.turn, time.monotonic())
        return hurry or time.monotonic() - few_since > self._patience_s

    def _truncate(self, conn: Connection, slot: Slot) -> slots.Left | None:
        with conn.transaction():
            if not slots.try_lock(conn, self.statements, duty=ROTATION):
                return None
            if not slots.may_empty(conn, self.statements, slot=slot):
                return None
            conn.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            slots.lock(conn, self.statements, slot=slot.slot)
            # A new statement after the lock sees all that was committed: nobody can hide a row in the slot any more.
            left = slots.left(conn, self.statements, slot=slot.slot, limit=FEW + 1)
            if left.ready > FEW or left.leases > FEW:
                return None
            if not left.empty:
                left = slots.evacuate(conn, self.statements, slot=slot.slot)
            slots.truncate(conn, self.statements, slot=slot.slot)
            self._few_since.pop(slot.turn, None)
            return left

    def _repair(self, conn: Connection) -> None:
        with conn.transaction():
            if slots.try_lock(conn, self.statements, duty=ROTATION) and slots.repair(conn, self.statements):
                logger.info("A slot had been opened half-way only; what was sent meanwhile is found.")

    def _find_stale(self, conn: Connection, ring: list[Slot]) -> None:
        for slot in ring:
            if slot.state == "free" and slots.reopen_stale(conn, self.statements, slot=slot.slot):
                registers.bump_catalog(conn, self.statements)
                logger.info(
                    "Slot %d was written to after it had been emptied; it is closing again.", slot.slot
                )
