"""The demo's course: a server, tables, pages, workers, messages, a kill, the wait for the end, the report."""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..composition import group
from ..errors import PgQueueError, ResultError
from ..storage import outcomes
from ..storage.urls import redacted
from .interruption import Interruption
from .pages import FINISHED, Page, PageServer, find_pages, python_library
from .place import Place, server, server_version, tables
from .program import QUEUE, Counted, Program, make_program
from .report import Evidence, Report, Run, make_report
from .workers import Workers

__all__ = ["MESSAGES", "Settings", "View", "run_demo"]

PROCESSES = 2

#: Enough to see the bar move and a process die, in a few seconds on two slow cores.
MESSAGES = 400

#: The part of all messages after which a process is killed, and that after which the web server waits for it.
KILL_AFTER, HOLD_FROM = 0.3, 0.6

#: Seconds between two looks at the web server and the workers, and between two at the database.
LOOK_S, COUNT_S = 0.01, 0.1

#: Seconds without an ack after a kill from which on we say what we are waiting for.
STILL_S = 0.7

#: Seconds without an ack after which something is wrong.
STUCK_S = 60.0

#: Seconds that the callback may take after the last page.
CALLBACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do.

    Parameters:
      messages: How many.
      url: The server to use; None for a bundled one of our own.
      threads: Of each worker process.
    """

    messages: int = MESSAGES
    url: str | None = None
    threads: int = 8


class View(Protocol):
    """Shows the course of the demo to somebody."""

    def doing(self, text: str) -> None:
        """Show what is being done now."""

    def done(self, text: str) -> None:
        """Show what has been done."""

    def progress(self, done: int, total: int, *, waiting: bool) -> None:
        """Show how many messages are done, and whether the killed process's are being waited for."""

    def stopping(self) -> None:
        """Show that a signal has been heard."""


def run_demo(settings: Settings, view: View) -> Report:
    """Run the demo; leave nothing behind, however it ends.

    Raises:
      PgQueueError: It could not be run.
      KeyboardInterrupt, SystemExit: A signal has ended it.
    """
    with Interruption(view.stopping) as interruption, ExitStack() as stack:
        try:
            report = _Demo(settings, view, interruption, stack).run()
            view.doing("Removing everything again")
        finally:
            interruption.ignore()
    return report


class _Demo:
    """One run. Whatever it starts, it registers with the stack in the same breath."""

    def __init__(self, settings: Settings, view: View, interruption: Interruption, stack: ExitStack) -> None:
        self._settings = settings
        self._view = view
        self._interruption = interruption
        self._stack = stack

    def run(self) -> Report:
        place = self._prepare_database()
        pages = self._find_pages()
        web = self._stack.enter_context(PageServer(pages, hold_from=int(len(pages) * HOLD_FROM)))
        program = make_program(place.url, schema=place.schema)
        self._stack.callback(program.broker.close)
        # They come up while the messages are being sent.
        workers = self._start_workers(place, web)
        self._view.done(f"{_many(pages)} text files of Python's library at {web.url}/")
        messages = self._send(program, pages, web)
        run = _Course(self._view, program, web, workers, total=len(pages)).run()
        self._view.doing("Checking")
        return make_report(pages, run, _evidence(program, pages, messages, web))

    def _prepare_database(self) -> Place:
        url = self._settings.url
        self._view.doing("Starting a PostgreSQL server" if url is None else f"Connecting to {redacted(url)}")
        with self._interruption.held():
            url = self._stack.enter_context(server(url))
        if self._settings.url is None:
            self._view.done("A PostgreSQL server of the demo's own is running")
        self._view.doing("Creating the tables")
        with self._interruption.held():
            place = self._stack.enter_context(tables(url, temporary=self._settings.url is None))
        version = server_version(place)
        self._view.done(f"The tables are in schema {place.schema} on PostgreSQL {version}")
        return place

    def _find_pages(self) -> list[Page]:
        self._view.doing("Looking for text files")
        return find_pages(python_library(), self._settings.messages)

    def _start_workers(self, place: Place, web: PageServer) -> Workers:
        with self._interruption.held():
            scratch = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="pgqueue-demo-"))
            workers = Workers(
                place.url,
                schema=place.schema,
                processes=PROCESSES,
                threads=self._settings.threads,
                scratch=Path(scratch),
            )
            self._stack.callback(workers.stop)
            self._stack.callback(
                web.open_gate
            )  # first, for a held request would keep its worker from stopping
        return workers

    def _send(self, program: Program, pages: Sequence[Page], web: PageServer) -> list[Any]:
        self._view.doing("Sending")
        counting = group(
            [program.count_words.message(web.url + page.address) for page in pages], broker=program.broker
        )
        counting.add_completion_callback(program.tell.message(web.url + FINISHED))
        counting.run()
        self._view.done(f"{_many(pages)} messages sent in one transaction, as a group with a callback")
        return counting.children


class _Course:
    """From the first request to the callback, with the kill between."""

    def __init__(
        self, view: View, program: Program, web: PageServer, workers: Workers, *, total: int
    ) -> None:
        self._view = view
        self._program = program
        self._web = web
        self._workers = workers
        self._total = total
        self._done = 0
        self._moved_at = time.monotonic()
        self._killed_at = 0.0

    def run(self) -> Run:
        """Watch, kill, watch on."""
        self._wait_until_two_run()
        killed = self._kill_in_mid_run()
        done_before_kill = self._done
        self._wait_for_the_end()
        start = self._web.first_request_at
        run = Run(self._moved_at - start, self._killed_at - start, done_before_kill, killed)
        self._wait_for_the_callback()
        return run

    def _wait_until_two_run(self) -> None:
        self._watch_until(lambda: len(self._workers.pids) == PROCESSES)
        pids = " and ".join(map(str, self._workers.pids))
        self._view.done(f"{PROCESSES} worker processes are running: {pids}")

    def _kill_in_mid_run(self) -> int:
        """Kill the process that waits for the most pages, as soon as a third of the work is done."""
        kill_from = min(int(self._total * KILL_AFTER), self._total - 1)
        self._watch_until(lambda: self._web.requests > kill_from and self._victim() != 0)
        pid = self._victim() or self._workers.pids[0]
        self._workers.kill(pid)
        self._killed_at = time.monotonic()
        self._web.open_gate()
        self._count()
        self._view.done(f"Process {pid} was killed in mid-run (SIGKILL)")
        return pid

    def _victim(self) -> int:
        return self._web.busiest(self._workers.pids)

    def _wait_for_the_end(self) -> None:
        self._watch_until(lambda: self._is_replaced() or self._done == self._total)
        if self._is_replaced():
            self._view.done(f"The supervisor has started process {self._workers.pids[-1]} in its place")
        self._watch_until(lambda: self._done == self._total)

    def _is_replaced(self) -> bool:
        return len(self._workers.pids) == PROCESSES

    def _wait_for_the_callback(self) -> None:
        deadline = time.monotonic() + CALLBACK_S
        while not self._web.finished and time.monotonic() < deadline:
            self._workers.check()
            time.sleep(LOOK_S)
        # The report comes from inside of the message: its ack is a moment later, and a second one would be, too.
        self._program.broker.join(self._program.tell.queue_name, timeout=int(CALLBACK_S * 1000))

    def _watch_until(self, happened: Callable[[], bool]) -> None:
        """Show how far things are until something has happened."""
        count_at = 0.0
        while not happened():
            self._workers.check()
            if time.monotonic() >= count_at:
                self._count()
                count_at = time.monotonic() + COUNT_S
            time.sleep(LOOK_S)

    def _count(self) -> None:
        unsettled, delayed, dead = self._program.broker.get_queue_message_counts(QUEUE)
        done, now = self._total - unsettled - delayed, time.monotonic()
        if done != self._done:
            self._done, self._moved_at = done, now
        still_s = now - max(self._moved_at, self._killed_at)
        if still_s > STUCK_S:
            raise PgQueueError(_stuck(self._workers, left=unsettled + delayed, dead=dead))
        self._view.progress(done, self._total, waiting=bool(self._killed_at) and still_s > STILL_S)


def _evidence(program: Program, pages: Sequence[Page], messages: Sequence[Any], web: PageServer) -> Evidence:
    backend = program.broker.get_results_backend()
    results: dict[str, Counted | None] = {}
    for page, message in zip(pages, messages, strict=True):
        try:
            results[page.address] = message.get_result(backend=backend)
        except ResultError:
            results[page.address] = None
    database = program.broker.database
    with database.connection() as conn:
        tally = outcomes.tally(conn, database.statements, queue_name=QUEUE)
    return Evidence(results, tally, web.finished)


def _stuck(workers: Workers, *, left: int, dead: int) -> str:
    last = workers.log[-1:] or ["(nothing)"]
    return (
        f"{left} messages are left and {dead} are dead, and none has come to its end for {STUCK_S:.0f} s. "
        f"The workers' last line: {last[0]}"
    )


def _many(things: Sequence[object]) -> str:
    return f"{len(things):,}"
