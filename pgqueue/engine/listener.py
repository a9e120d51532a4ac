"""The listener: the connection on which a process is woken, shows that it lives, and does the keeper's duties."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from random import uniform

from psycopg import OperationalError

from ..common import quoted
from ..errors import PgQueueError
from ..faults import Fault
from ..logging import own_logger
from ..maintenance.duty import Duty
from ..maintenance.promoter import Promoter
from ..storage.database import Connection, Database, has_session, is_lost, translated
from ..storage.orders import ORDERS
from ..storage.refusals import first_line
from ..storage.registers import called_cell, channel
from ..storage.revision import check_schema
from ..storage.urls import redacted
from .backoff import Backoff
from .control import Control
from .nudge import Nudge
from .presence import Presence
from .publication import Publication

#: After a duty failed, seconds until it is tried again.
AFTER_FAILURE_S = 1.0

#: A duty works again when it has not failed for so many seconds: not all of what it does is done each time.
WELL_AFTER_S = 10.0

#: And the listener itself, when it has served for so many seconds: not when it fails right after each start.
SERVED_S = 3.0

#: No duty takes longer than `statement_timeout`, or waits longer for somebody's lock. To compile the statement that
#: takes back a lost worker's messages would take the server six seconds.
SETTINGS = {
    # Plans that were made while nothing was scheduled stay when a million messages are.
    "enable_seqscan": "off",
    "jit": "off",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_session_timeout": "0",
}

#: Said once, and loudly.
_POLLING = (
    "This worker's connections to %s go through a pooler, so that it has no session of its own: no notifications, no "
    "locks, no settings. It works by POLLING: messages are found by asking each second, and it counts as lost when it "
    "was silent for five seconds. Give workers a way past the pooler: PostgresBroker(url, worker_url=...) or "
    "PGQUEUE_WORKER_URL."
)

logger = own_logger(__name__)


class Listener(threading.Thread):
    """Waits for notifications and, on the same connection, runs each duty when it is due.

    Parameters:
      presence: The duty that keeps the process's names; it is done first on every new connection.
      control: The duty that obeys operators' orders; it is done before anything is claimed.
      on_wake: Called, in this thread, whenever something may have become ready; with the number of the idle register
        of whose queues it is, or None for any.
    """

    def __init__(
        self,
        database: Database,
        *,
        presence: Presence,
        control: Control,
        duties: Sequence[Duty],
        on_wake: Callable[[int | None], None],
    ) -> None:
        super().__init__(name="pgqueue-listener", daemon=True)
        self._database = database
        self._presence = presence
        self._control = control
        self._duties: list[Duty] = [presence, control, *duties]
        now_s = time.monotonic()
        self._due_at = {duty: now_s + uniform(0.0, duty.first_within_s) for duty in self._duties}  # noqa: S311  (spreads load)
        self._on_wake = on_wake
        self._stopping = threading.Event()
        self._up = threading.Event()
        self._warned = False
        #: The duties that fail at the moment, by name, and what each fails of.
        self.failing: dict[str, str] = {}
        self._failed_at: dict[str, float] = {}
        self._worked: set[str] = set()
        for duty in self._duties:
            if isinstance(duty, Publication):
                duty.failing = self.failing.copy
        self._first_error: BaseException | None = None
        self._trouble: Fault | None = None
        self._nudge = Nudge()

    def start_and_wait(self) -> None:
        """Start; return when the process is registered, raise what stood in the way of that."""
        self.start()
        self._up.wait()
        if self._first_error is not None:
            self.join()
            raise self._first_error

    def nudge(self, duty: type[Duty], *, in_s: float = 0.0) -> None:
        """Run the duties of a kind in ``in_s`` seconds, or when they are due if that is sooner."""
        due_at = time.monotonic() + in_s
        for known in self._duties:
            if isinstance(known, duty):
                self._due_at[known] = min(self._due_at[known], due_at)
        self._nudge.give()

    def stop(self) -> None:
        """Retire the process's names, close the connection, end the thread; return when that is done."""
        self._stopping.set()
        self._nudge.give()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()

    def run(self) -> None:
        """Serve until told to stop, over any number of lost connections."""
        try:
            self._serve_on()
        finally:
            self._nudge.close()

    def _serve_on(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._serve(backoff)
            except Exception as error:  # noqa: BLE001  # the thread's top loop
                if not self._up.is_set():
                    self._first_error = error
                    self._up.set()
                    return
                self._report(error)
                self._stopping.wait(backoff.next_s())

    def _serve(self, backoff: Backoff) -> None:
        with (
            translated(self._database),
            self._database.connect(application_name="pgqueue listener", settings=SETTINGS) as conn,
        ):
            self._begin(conn)
            begun_at = time.monotonic()
            self._up.set()
            self._on_wake(None)  # something may have happened while nobody listened
            while not self._stopping.is_set():
                self._database.check(conn)
                self._run_due(conn)
                self._wait(conn)
                if time.monotonic() - begun_at > SERVED_S:
                    self._recover()
                    backoff.reset()
            self._presence.leave(conn)

    def _begin(self, conn: Connection) -> None:
        if not self._up.is_set():
            # Here, since one of the pool's connections would stay as the process's fourth.
            check_schema(conn, self._database.statements)
        conn.add_notify_handler(lambda notification: self._take(notification.payload))
        if has_session(conn):
            conn.execute(f"LISTEN {quoted(channel(self._database.schema))}".encode())
        elif not self._warned:
            self._warned = True
            logger.warning(_POLLING, redacted(self._database.direct_url), fault=Fault.POLLING)
        for duty in self._duties:
            duty.reconnected()
        self._run(conn, self._presence)
        self._run(conn, self._control)

    def _run_due(self, conn: Connection) -> None:
        for duty in self._duties:
            if self._due_at[duty] <= time.monotonic() and not self._stopping.is_set():
                self._run(conn, duty)
                self._take_notifications(conn)

    def _run(self, conn: Connection, duty: Duty) -> None:
        self._due_at[duty] = float("inf")
        try:
            in_s = duty.run_once(conn).in_s
        except Exception as error:
            in_s = AFTER_FAILURE_S
            if conn.closed or is_lost(error) or duty is self._presence:
                raise
            self._tell_of_failure(type(duty).__name__, error)
        else:
            self._worked.add(type(duty).__name__)
            self._tell_of_success()
        finally:
            self._due_at[duty] = min(self._due_at[duty], time.monotonic() + in_s)

    def _tell_of_failure(self, name: str, error: Exception) -> None:
        """Count each failure; say once that a duty fails, for it may do so each second and for days."""
        logger.log(
            logging.DEBUG if name in self.failing else logging.ERROR,
            "%s failed; next try in %.0f s, and a line when it works again: %s", name, AFTER_FAILURE_S, error,
            exc_info=_mystery(error), fault=Fault.DUTY_FAILED,
        )  # fmt: skip
        self.failing[name] = first_line(error)
        self._failed_at[name] = time.monotonic()
        self._worked.discard(name)

    def _tell_of_success(self) -> None:
        before = time.monotonic() - WELL_AFTER_S
        for name in self._worked & self.failing.keys():
            if self._failed_at[name] <= before:
                del self.failing[name]
                logger.info("%s works again.", name)

    def _wait(self, conn: Connection) -> None:
        wait_s = max(0.0, min(self._due_at.values()) - time.monotonic())
        if self._nudge.wait(conn.fileno(), wait_s):
            conn.pgconn.consume_input()
            self._take_notifications(conn)

    def _take_notifications(self, conn: Connection) -> None:
        while (notification := conn.pgconn.notifies()) is not None:
            self._take(notification.extra.decode())

    def _take(self, payload: str) -> None:
        """A payload is a number of milliseconds in which a message is due, or says that there are orders.

        Any other is a call to look for messages now, mostly of the queues of one register.
        """
        if payload.isdecimal():
            self.nudge(Promoter, in_s=int(payload) / 1000)
        elif payload == ORDERS:
            self.nudge(Control)
        else:
            self._on_wake(called_cell(payload))

    def _report(self, error: BaseException) -> None:
        if is_lost(error):
            logger.log(
                self._once(Fault.CONNECTION_LOST, logging.WARNING),
                "The listener lost its connection and connects again: %s", error, fault=Fault.CONNECTION_LOST,
            )  # fmt: skip
        else:
            logger.log(
                self._once(Fault.LISTENER_FAILED, logging.ERROR),
                "The listener failed and starts again: %s", error, exc_info=_mystery(error),
                fault=Fault.LISTENER_FAILED,
            )  # fmt: skip

    def _once(self, fault: Fault, level: int) -> int:
        """The level for a fault of the listener's: a lower one for tries after the first, which are only counted."""
        if fault is self._trouble:
            return logging.DEBUG
        self._trouble = fault
        return level

    def _recover(self) -> None:
        if self._trouble is not None:
            logger.info("The listener works again.")
        self._trouble = None


def _mystery(error: BaseException) -> BaseException | None:
    """An error that its traceback explains, unlike trouble of the server's: a full disk, a timeout."""
    return None if isinstance(error, OperationalError | PgQueueError) else error
