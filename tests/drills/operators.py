"""Operators: threads that do to a queue under load, at random, all that can be asked of it."""

import random
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import psycopg

from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import StatementTimedOut
from pgqueue.operations import acting, answering, checking, explaining, listing, overview, pace
from pgqueue.operations.listing import MessageFilter
from pgqueue.storage.dead_letters import LetterFilter
from pgqueue.storage.whereabouts import find_dead

from .ledger import Ledger
from .load import message

__all__ = ["Operators"]

#: The tables that whole statements lock, each alone: who locks several has to know in which order we do.
TABLES = ("messages", "ready", "leases", "scheduled", "outcomes", "dead_letters", "workers", "lanes")

MODES = ("ACCESS SHARE", "SHARE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE")

#: Seconds for which a table is locked.
LOCKED_S = 0.2

#: What is not ours to do again.
OTHERS = {"vacuum", "lock", "read"}

OF_SPARE = MessageFilter(queue_name="spare")
DEAD_SPARE = LetterFilter(queue_name="spare")


class Operators:
    """Each thread draws what it does next; whatever is raised in one is kept.

    What they send themselves may run or not, for they cancel, drop and purge it.
    """

    def __init__(self, url: str, ledger: Ledger, dice: random.Random, *, count: int) -> None:
        self._url = url
        self._ledger = ledger
        self._broker = PostgresBroker(url)
        self._stopping = threading.Event()
        self.errors: list[str] = []
        self.done: Counter[str] = Counter()
        self.timed_out = 0
        self.acts = [name.removeprefix("act_") for name in dir(self) if name.startswith("act_")]
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(dice.random()),), daemon=True)  # noqa: S311
            for _ in range(count)
        ]

    def _work(self, dice: random.Random) -> None:
        while not self._stopping.is_set():
            name = dice.choice(self.acts)
            try:
                getattr(self, f"act_{name}")(dice)
            except psycopg.errors.DeadlockDetected as error:
                # A lock of a table is one of each of its partitions: who takes some is the victim now and then.
                if name not in OTHERS:
                    self.errors.append(f"{name}: {error}")
            except StatementTimedOut:
                # As a lock or a rewrite of the table makes it: told in words, nothing is done.
                self.timed_out += 1
            except Exception as error:  # noqa: BLE001  # told at the end
                self.errors.append(f"{name}: {type(error).__name__}: {error}")
            else:
                self.done[name] += 1

    def tidy(self) -> None:
        """Resume everything, and drop what would wait for a minute, so that the queue can be drained."""
        for name in ("default", "spare"):
            self._broker.resume_queue(name)
        for name in ("quick", "spare"):
            self._broker.resume_actor(name)
        self._broker.flush("spare")

    # ── messages ──────────────────────────────────────────────────────────────────────────────────

    def _send(self, name: str, dice: random.Random, *, delay: int | None = None) -> list[str]:
        made = [message(name, number, queue_name="spare") for number in range(dice.choice([1, 5, 40]))]
        ids = [one.message_id for one in made]
        self._ledger.write("may be requeued" if name == "doomed" else "unsure", *ids)
        if delay is None:
            self._broker.enqueue_many(made)
        else:
            for one in made:
                self._broker.enqueue(one, delay=delay)
        return ids

    def act_cancel(self, dice: random.Random) -> None:
        for id_ in self._send("spare", dice, delay=dice.choice([None, 60_000]))[:5]:
            self._broker.cancel(id_, timeout=200)

    def act_hasten_and_look(self, dice: random.Random) -> None:
        for id_ in self._send("spare", dice, delay=60_000)[:5]:
            answering.retry(self._broker.database, id_)
            explaining.explain(explaining.find(self._broker.database, id_))

    def act_hasten_all(self, dice: random.Random) -> None:
        self._send("spare", dice, delay=60_000)
        acting.hasten_step(self._broker.database, OF_SPARE)

    def act_delete(self, dice: random.Random) -> None:
        for id_ in self._send("spare", dice)[:5]:
            answering.delete(self._broker.database, id_)

    def act_cancel_all(self, dice: random.Random) -> None:
        self._send("spare", dice)
        list(acting.remove_all(self._broker.database, OF_SPARE, record=True))

    def act_flush(self, dice: random.Random) -> None:
        self._send("spare", dice)
        self._broker.flush("spare")

    def act_pause(self, dice: random.Random) -> None:
        queue, actor = dice.choice(["default", "spare"]), dice.choice(["quick", "spare"])
        self._broker.pause_queue(queue)
        self._broker.pause_actor(actor)
        time.sleep(dice.uniform(0.0, 0.1))
        self._broker.resume_actor(actor)
        self._broker.resume_queue(queue)

    # ── dead letters ──────────────────────────────────────────────────────────────────────────────

    def act_requeue(self, dice: random.Random) -> None:
        database, ids = self._broker.database, self._send("doomed", dice)
        with database.bounded() as conn:
            letters = find_dead(conn, database.statements, message_id=ids[0])
        acting.requeue(database, letters)

    def act_requeue_all(self, dice: random.Random) -> None:
        list(acting.requeue_all(self._broker.database, DEAD_SPARE))

    def act_purge_all(self, dice: random.Random) -> None:
        list(acting.purge_letters(self._broker.database, DEAD_SPARE))

    # ── looks ─────────────────────────────────────────────────────────────────────────────────────

    def act_doctor(self, dice: random.Random) -> None:
        list(checking.check(self._broker.database))

    def act_look(self, dice: random.Random) -> None:
        database = self._broker.database
        overview.look(database)
        pace.measure(database, window_s=60.0, buckets=6)
        pace.times(database, window_s=60.0)
        listing.list_messages(database, MessageFilter(), limit=100)
        self._broker.get_queue_message_counts("spare")

    def act_migrate(self, dice: random.Random) -> None:
        assert schema.current(self._url) == schema.head()
        schema.upgrade(self._url)

    # ── others on the server ──────────────────────────────────────────────────────────────────────

    def act_vacuum(self, dice: random.Random) -> None:
        verb = dice.choice(["VACUUM", "ANALYZE", "VACUUM (ANALYZE)", "VACUUM FULL"])
        self._run(f"{verb} pgqueue.{dice.choice(TABLES)}")

    def act_lock(self, dice: random.Random) -> None:
        with psycopg.connect(self._url) as conn:
            conn.execute(f"LOCK TABLE pgqueue.{dice.choice(TABLES)} IN {dice.choice(MODES)} MODE".encode())
            time.sleep(dice.uniform(0.0, LOCKED_S))

    def act_read(self, dice: random.Random) -> None:
        with psycopg.connect(self._url) as conn:
            conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for table in TABLES:
                conn.execute(f"SELECT count(*) FROM pgqueue.{table}".encode())
                time.sleep(dice.uniform(0.0, LOCKED_S / 4))

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.tidy()
        self._broker.close()
