"""The fetcher: claims for all queues of a consumer at once, on a connection of its own, and knows when it need not."""

import time
from collections.abc import Callable, Iterable
from random import uniform
from uuid import UUID

from ..logging import own_logger
from ..storage import lanes, messages, registers, slots, workers
from ..storage.database import Connection, Database, is_lost, translated
from ..storage.lanes import Lane
from ..storage.messages import Claim, ClaimedMessage, Registers
from ..storage.positions import Positions, Span
from ..storage.registers import idle_cell
from ..storage.snapshot import Snapshot
from .control import Standing
from .lane_order import in_order, urgency
from .leases import Leases
from .limits import Limits
from .quiet import FLEET, SILENT_S, QuietQueues

#: A claim need not be durable: one that a crash of the server undoes is only claimed again. The plan's shape is
#: pinned, because the tables' statistics are worth nothing a second after they were taken.
SETTINGS = {
    "synchronous_commit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "on",
    "jit": "off",
    "statement_timeout": "10s",
    # For claims under a limit, which count what others have committed, one at a time.
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "5s",
}

#: Seconds after which all positions are forgotten: a claim of somebody else that was rolled back may have left rows
#: behind them. Looking again costs some 20 ms for 100,000 dead rows.
FORGET_S = 45.0

#: Seconds after a new connection at which they are forgotten once more: what the claim held that broke with the one
#: before may have been locked still when the new one looked.
FORGET_AGAIN_S = 2.0

#: Seconds to wait for a name to claim under.
NAME_S = 5.0

#: A way to claim up to so many messages under a name.
ClaimBy = Callable[[Connection, UUID, int], list[ClaimedMessage]]

logger = own_logger(__name__)


class Fetcher:
    """Takes messages of some queues. For one thread, but for `subscribe`, `serves` and `called`.

    Parameters:
      need_name: Called when there is no name to claim under.
      standing: The orders to obey.
      hears_quiet: Have senders to quiet queues call, beside a flood in others, so that `fetch_quiet` brings something.
    """

    def __init__(
        self,
        database: Database,
        leases: Leases,
        queue_names: Iterable[str],
        *,
        need_name: Callable[[], None],
        standing: Standing | None = None,
        hears_quiet: bool = True,
    ) -> None:
        self._database = database
        self._leases = leases
        self._need_name = need_name
        self._standing = standing or Standing()
        self._closed: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self.limits = Limits()
        self._queue_names = set(queue_names)
        self._hears_quiet = hears_quiet
        self._positions = Positions()
        self._lanes: list[Lane] = []
        self._known: dict[int, Lane] = {}
        self._quiet = QuietQueues()
        self._slots: list[int] = []
        self._conn: Connection | None = None
        self._seen = Registers(0, 0, 0, 0)
        self._catalog = self._rewind = self._swept = self._swept_xmax = -1
        self._forget_at = 0.0
        self._turn = self._quiet_turn = 0
        # Lanes in which a claim that was full has left more, or not looked; and the priority at which it ended.
        self._busy: set[int] = set()
        # Lanes of which some claim has seen the end since senders to quiet queues were last asked.
        self._ended: set[int] = set()
        self._stopped_at = 0

    def subscribe(self, queue_name: str) -> None:
        """Claim from one more queue."""
        self._queue_names = self._queue_names | {queue_name}
        self._closed = (frozenset(), frozenset())
        self._catalog = -1

    def serves(self, cell: int) -> bool:
        """Whether a call for the queues of an idle register is for one of ours; from any thread."""
        return any(idle_cell(name) == cell for name in self._queue_names)

    def called(self, cell: int | None) -> None:
        """Take note of a call for messages of the queues of an idle register, or of any; from any thread."""
        self.limits.wake(cell)
        self._quiet.called(cell)

    def is_called(self) -> bool:
        """Whether a quiet queue has called and nothing was claimed for that yet; from any thread."""
        return bool(self._busy) and self._quiet.wanted_at() < float("inf")

    def fetch(self, limit: int) -> list[ClaimedMessage]:
        """Claim up to ``limit`` messages, most urgent first.

        Raises:
          DatabaseUnavailable: The connection is lost; the next call opens another.
        """
        return self._fetch_by(self._claim, limit)

    def fetch_quiet(self, limit: int) -> list[ClaimedMessage]:
        """Claim up to ``limit`` messages of queues that had no more at the last claim, if others had and it is time.

        Raises:
          DatabaseUnavailable: The connection is lost; the next call opens another.
        """
        if time.monotonic() < self.quiet_at(claims=limit > 0):
            return []
        return self._fetch_by(self._claim_quiet, limit)

    def quiet_at(self, *, claims: bool) -> float:
        """When `fetch_quiet` has something to do, on the monotonic clock: to have senders call, or to claim."""
        if not self._hears_quiet or not self._busy or self._leases.current() is None:
            return float("inf")
        return min(self._quiet.due_at(), self._quiet.wanted_at() if claims else float("inf"))

    def fetch_limited(self, limit: int) -> list[ClaimedMessage]:
        """Claim up to ``limit`` messages of queues of which only so many run at once, if that is worth a look.

        Raises:
          DatabaseUnavailable: The connection is lost; the next call opens another.
        """
        self._obey()
        if limit <= 0 or not self.limits.due():
            return []
        claimed = self._fetch_by(self._claim_limited, limit)
        self._tell_others()
        return claimed

    def tell_of_room(self) -> None:
        """Have others look at limited queues in which a place has become free that this process can't use now."""
        if self._conn is not None:
            self.limits.has_word(self.limits.take_freed())
        self._tell_others()

    def _tell_others(self) -> None:
        """Tell, if there is something to tell; whatever comes of it, what has been claimed is there to be run."""
        if self._conn is None or not (queue_names := self.limits.word()):
            return
        try:
            registers.wake(self._conn, self._database.statements, queue_names=queue_names)
        except Exception as error:  # noqa: BLE001  # whatever it is
            if is_lost(error):
                self.close()
            logger.warning(
                "Other workers can't be told of places in limited queues, next try in %.1f s; they look by themselves "
                "within a second: %s", self.limits.not_told(), error,
            )  # fmt: skip
        else:
            self.limits.told()

    def worth_fetching(self, *, idle: bool) -> bool:
        """Ask, at the cost of a few buffers, whether a `fetch` could find anything.

        Parameters:
          idle: Also leave word that a worker is idle, so that whoever sends the next message tells us.
        """
        try:
            with translated(self._database):
                return self._look(self._connected(), idle=idle)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; positions and the name that claims are made under go with it."""
        if self._conn is not None:
            conn, self._conn = self._conn, None
            self._leases.renounce()
            conn.close()

    def _connected(self) -> Connection:
        if self._conn is None:
            self._conn = self._database.connect(application_name="pgqueue fetcher", settings=SETTINGS)
            self._positions.forget()
            self._forget_at = time.monotonic() + FORGET_AGAIN_S
            self._catalog = self._swept = -1
        else:
            self._database.check(self._conn)
        return self._conn

    def _look(self, conn: Connection, *, idle: bool) -> bool:
        self._obey()
        active = self._queue_names - self._closed[0]
        cells = [registers.idle_register(name, schema=self._database.schema) for name in active]
        snapshot, seen = registers.read(
            conn, self._database.statements, idle=sorted(set(cells)) if idle else ()
        )
        self._seen = seen
        return (
            (bool(lanes := self._open_lanes()) and self._has_moved(snapshot, seen))
            or seen.catalog != self._catalog
            or seen.open_slot not in self._slots
            or seen.rewind != self._rewind
            or time.monotonic() > self._forget_at
            or bool(self.limits.due())
            or any(snapshot.decided(xid) for xid in self._positions.waiting_for({lane.id for lane in lanes}))
        )

    def _has_moved(self, snapshot: Snapshot, seen: Registers) -> bool:
        """Whether anything that became ready since the last claim can be ours.

        Ids were drawn, or some transaction has ended. That may be one that had drawn its ids before that claim and was
        too young to be listed in its snapshot, which lists none above the youngest that has ended.
        """
        return seen.head != self._swept or snapshot.xmax != self._swept_xmax

    def _fetch_by(self, claim: ClaimBy, limit: int) -> list[ClaimedMessage]:
        try:
            with translated(self._database):
                return self._fetch(self._connected(), claim, limit)
        except BaseException:
            self.close()
            raise

    def _fetch(self, conn: Connection, claim: ClaimBy, limit: int) -> list[ClaimedMessage]:
        if self._leases.current() is None:
            self._need_name()
        # Another fetcher's broken connection must not retire the name before the claim's messages are noted.
        with self._leases.claiming(within_s=NAME_S) as owner:
            if owner is None:
                return []
            self._obey()
            self._read_catalog(conn)
            self._forget_in_time()
            return claim(conn, owner, limit)

    def _claim(self, conn: Connection, owner: UUID, limit: int) -> list[ClaimedMessage]:
        self._ask_quiet_senders(conn)
        self._quiet.began()
        self._turn += 1
        spans = self._positions.plan(in_order(self._open_lanes(), self._turn, last=self._busy), self._slots)
        if not spans:
            return []
        claim = messages.claim(
            conn, self._database.statements, slots=self._slots, spans=spans, owner=owner, limit=limit
        )
        self._leases.add(claim.messages)
        self._take_in(claim, spans, limit)
        self._quiet.count(self._known[message.lane].queue_name for message in claim.messages)
        return claim.messages

    def _claim_quiet(self, conn: Connection, owner: UUID, limit: int) -> list[ClaimedMessage]:
        self._ask_quiet_senders(conn)
        if limit <= 0 or time.monotonic() < self._quiet.wanted_at():
            return []
        self._quiet.began()
        self._quiet_turn += 1
        in_turn = in_order(self._open_lanes(), self._quiet_turn, last=self._busy)
        lanes = [lane for lane in in_turn if self._is_quiet(lane)]
        claimed = self._claim_of(conn, owner, lanes, limit)
        self._leases.add(claimed)
        self._quiet.count(self._known[message.lane].queue_name for message in claimed)
        self._quiet.ended(len(claimed), limit=limit)
        return claimed

    def _is_quiet(self, lane: int) -> bool:
        return lane not in self._busy and self._known[lane].priority <= self._stopped_at

    def _ask_quiet_senders(self, conn: Connection) -> None:
        """Leave word as an idle worker does, in the registers of those queues alone that have had little.

        Only ever before a claim: what fails after it would leave its messages with nobody who runs them.
        """
        if not self._hears_quiet or not self._busy or time.monotonic() < self._quiet.due_at():
            return
        # Messages of later priority than those that wait have to wait as well, whatever their queue.
        in_turn = [lane for lane in self._open_lanes() if lane.priority <= self._stopped_at]
        names = {lane.queue_name for lane in in_turn}
        # A lane of which the last claim alone did not come to the end may have had another before it by its turn.
        busy = {lane.queue_name for lane in in_turn if lane.id in self._busy - self._ended}
        self._ended.clear()
        alive = workers.count_alive(conn, self._database.statements, silent_s=SILENT_S)
        quiet = self._quiet.take(names if alive <= FLEET else (), busy=busy)
        cells = sorted({registers.idle_register(name, schema=self._database.schema) for name in quiet})
        if cells:
            registers.read(conn, self._database.statements, idle=cells)

    def _claim_limited(self, conn: Connection, owner: UUID, limit: int) -> list[ClaimedMessage]:
        statements = self._database.statements
        taken: list[ClaimedMessage] = []
        with conn.transaction():
            locked = self.limits.lock(conn, statements, self.limits.due())
            for each in locked:
                wanted = limit - len(taken)
                room = self.limits.room(conn, statements, each) if wanted else 0
                name = each.queue_name
                lanes = [lane.id for lane in sorted(self._lanes, key=urgency) if lane.queue_name == name]
                found = self._claim_of(conn, owner, lanes, min(wanted, room), queue_name=name)
                taken += found
                if self.limits.claimed(each.queue_name, len(found), wanted=wanted, room=room):
                    self.limits.has_word({name})
        # From here on nothing may fail: these messages would be with nobody who runs them.
        self._leases.add(taken)
        return taken

    def _claim_of(
        self, conn: Connection, owner: UUID, lane_ids: list[int], limit: int, *, queue_name: str | None = None
    ) -> list[ClaimedMessage]:
        """Claim from some lanes only, after which nothing is known of the others."""
        spans = self._positions.plan(lane_ids, self._slots)
        if not spans or not limit:
            return []
        claim = messages.claim(
            conn, self._database.statements, slots=self._slots, spans=spans, owner=owner, limit=limit,
            queue_name=queue_name,
        )  # fmt: skip
        full = len(claim.messages) >= limit
        self._positions.advance(spans, claim.snapshot, stopped_at=claim.last if full else None)
        return claim.messages

    def _take_in(self, claim: Claim, spans: list[Span], limit: int) -> None:
        full = len(claim.messages) >= limit
        self._positions.advance(spans, claim.snapshot, stopped_at=claim.last if full else None)
        self._busy = {span.lane for span in spans[claim.last[0] :]} if full and claim.last else set()
        self._ended |= {span.lane for span in spans} - self._busy
        if self._busy and claim.last:
            self._stopped_at = self._known[spans[claim.last[0]].lane].priority
        if not full:
            # The head that was read *before* this claim's snapshot: a later one may count rows that it did not see.
            self._swept = self._seen.head
            self._swept_xmax = claim.snapshot.xmax
        self._seen = claim.registers

    def _read_catalog(self, conn: Connection) -> None:
        if self._seen.catalog == self._catalog and self._seen.open_slot in self._slots:
            return
        statements = self._database.statements
        _, seen = registers.read(conn, statements)
        names = self._queue_names
        self._lanes = [lane for lane in lanes.list_lanes(conn, statements) if lane.queue_name in names]
        self._known = {lane.id: lane for lane in self._lanes}
        self._busy &= self._known.keys()
        self._slots = [slot.slot for slot in slots.list_slots(conn, statements) if slot.state != "free"]
        self._positions.keep(self._slots)
        # The register shows a rotation before its commit; the table that was just read may not know of it yet.
        self._catalog = seen.catalog if seen.open_slot in self._slots else -1
        self._seen = seen

    def _obey(self) -> None:
        """Leave out the lanes of paused queues, or all: what their positions say stays true meanwhile."""
        orders = self._standing.orders
        paused = orders.queues if orders.process is None else frozenset(self._queue_names)
        if self._closed != (paused, orders.limited):
            self._closed = (paused, orders.limited)
            self.limits.serve(self._queue_names & orders.limited - paused)
            self._swept = -1  # what was seen of the end did not count what goes on now

    def _open_lanes(self) -> list[Lane]:
        """Those that are claimed from all at once: not paused, and without a limit."""
        paused, limited = self._closed
        if not paused and not limited:
            return self._lanes
        closed = paused | limited
        return [lane for lane in self._lanes if lane.queue_name not in closed]

    def _forget_in_time(self) -> None:
        if self._seen.rewind != self._rewind:
            self._positions.forget()
            self._rewind = self._seen.rewind
        if time.monotonic() > self._forget_at:
            self._positions.forget()
            self._forget_at = time.monotonic() + FORGET_S * uniform(0.7, 1.3)  # noqa: S311  (spreads load)
