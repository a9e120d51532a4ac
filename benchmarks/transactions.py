"""``python -m benchmarks.transactions``: what a send adds to a transaction of the application's, for each library.

The transaction makes one insert. Measured in turn, round by round: the transaction alone, with the statement that a
send consists of run by the library's own means, and with ``actor.send``. The last column is what pgqueue is answerable
for: what its send adds, by what the bare statement adds. Numbers of two runs, or of two libraries, do not compare.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

import asyncpg
import django
import psycopg
import sqlalchemy
from django import db as django_db
from django.conf import settings as django_settings
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage import messages
from pgqueue.storage.arrays import literal
from pgqueue.storage.lanes import list_lanes
from pgqueue.storage.messages import NewMessage
from pgqueue.storage.registers import channel
from pgqueue.storage.statements import Placeholder

from .server import SCHEMA, fresh_schema, server

T = TypeVar("T")

#: What is measured is the send, not the disk that the commit waits for, which is the same for all.
QUICK = "SET synchronous_commit = off"

INSERT = "INSERT INTO pgqueue_bench_orders (text) VALUES ('order')"

#: Runs something once, in a transaction of its own.
Step = Callable[[], None]


class Bare:
    """The statement of one send, with its parameters, as a program would write it by hand."""

    def __init__(self, broker: PostgresBroker, lane: int, actor: pgqueue.Actor[..., Any]) -> None:
        message = actor.message(1)
        new = NewMessage(lane, message.queue_name, message.message_id, "note", message.encode())
        self._call = messages.enqueue_call([new], channel=channel(SCHEMA), idle_cells=[0])
        self._statements = broker.database.statements

    def named(self, placeholder: Placeholder) -> tuple[str, dict[str, Any]]:
        """Its text, and its parameters by name."""
        compiled = self._statements.portable(self._call.name, placeholder)
        return compiled.text.decode(), {name: literal(self._call.parameters[name]) for name in compiled.names}


class Loop:
    """Runs coroutines; each step of a measurement is one."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run one to its end."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()


def psycopg_steps(url: str, bare: Bare, actor: Any, stack: ExitStack) -> list[Step]:
    """psycopg, with statements that it prepares after five runs."""
    conn = stack.enter_context(psycopg.connect(url))
    conn.execute(QUICK)
    conn.commit()
    text, parameters = bare.named(Placeholder.NAMED)

    def step(more: Callable[[], object] | None) -> None:
        conn.execute(INSERT)
        if more is not None:
            more()
        conn.commit()

    def send() -> None:
        with pgqueue.transaction(conn):
            actor.send(1)

    return _three(step, lambda: conn.execute(text.encode(), parameters), send)


def sqlalchemy_steps(
    url: str, bare: Bare, actor: Any, stack: ExitStack, *, driver: str, session: bool
) -> list[Step]:
    """SQLAlchemy on a driver that blocks."""
    engine = sqlalchemy.create_engine(**_options(url, driver))
    stack.callback(engine.dispose)
    conn: Any = stack.enter_context(orm.Session(engine) if session else engine.connect())
    text, parameters = bare.named(Placeholder.COLON)
    insert, enqueue = sqlalchemy.text(INSERT), sqlalchemy.text(text)
    conn.execute(sqlalchemy.text(QUICK))
    conn.commit()

    def step(more: Callable[[], object] | None) -> None:
        conn.execute(insert)
        if more is not None:
            more()
        conn.commit()

    def send() -> None:
        with pgqueue.transaction(conn):
            actor.send(1)

    return _three(step, lambda: conn.execute(enqueue, parameters), send)


def asyncpg_steps(url: str, bare: Bare, actor: Any, stack: ExitStack) -> list[Step]:
    """asyncpg, which prepares its statements."""
    loop = Loop()
    stack.callback(loop.close)
    conn = loop.run(asyncpg.connect(url))
    loop.run(conn.execute(QUICK))
    stack.callback(lambda: loop.run(conn.close()))
    stack.callback(lambda: loop.run(actor.broker.close_async()))
    text, parameters = bare.named(Placeholder.NUMBERED)
    values = list(parameters.values())

    async def step(more: Callable[[], Any] | None) -> None:
        async with conn.transaction():
            await conn.execute(INSERT)
            if more is not None:
                await more()

    async def send() -> None:
        async with pgqueue.transaction(conn):
            await actor.send_async(1)

    return _three(lambda more: loop.run(step(more)), lambda: conn.fetch(text, *values), send)


def async_sqlalchemy_steps(url: str, bare: Bare, actor: Any, stack: ExitStack, *, driver: str) -> list[Step]:
    """SQLAlchemy on a driver that is awaited."""
    loop = Loop()
    stack.callback(loop.close)
    engine = sqlalchemy_asyncio.create_async_engine(**_options(url, driver))
    conn = loop.run(_connected(engine))
    stack.callback(lambda: loop.run(engine.dispose()))
    stack.callback(lambda: loop.run(conn.close()))
    stack.callback(lambda: loop.run(actor.broker.close_async()))
    text, parameters = bare.named(Placeholder.COLON)
    insert, enqueue = sqlalchemy.text(INSERT), sqlalchemy.text(text)

    async def step(more: Callable[[], Any] | None) -> None:
        await conn.execute(insert)
        if more is not None:
            await more()
        await conn.commit()

    async def send() -> None:
        async with pgqueue.transaction(conn):
            await actor.send_async(1)

    return _three(lambda more: loop.run(step(more)), lambda: conn.execute(enqueue, parameters), send)


async def _connected(engine: sqlalchemy_asyncio.AsyncEngine) -> sqlalchemy_asyncio.AsyncConnection:
    conn = await engine.connect()
    await conn.execute(sqlalchemy.text(QUICK))
    await conn.commit()
    return conn


def _three(step: Callable[[Any], None], bare: Callable[[], object], send: Callable[[], object]) -> list[Step]:
    return [lambda: step(None), lambda: step(bare), lambda: step(send)]


def django_steps(url: str, bare: Bare, actor: Any, stack: ExitStack) -> list[Step]:
    """Django's ORM on psycopg, as its cursor runs statements: `actor.send` finds the transaction by `atomic`."""
    alias = _django_alias(url)
    connection, transaction = django_db.connections[alias], django_db.transaction
    stack.callback(connection.close)
    with connection.cursor() as cursor:
        cursor.execute(QUICK)
    text, parameters = bare.named(Placeholder.NAMED)

    def step(more: Callable[[], object] | None) -> None:
        with transaction.atomic(using=alias):
            with connection.cursor() as cursor:
                cursor.execute(INSERT)
            if more is not None:
                more()

    def by_hand() -> None:
        with connection.cursor() as cursor:
            cursor.execute(text, parameters)

    def send() -> None:
        with pgqueue.transaction(alias):
            actor.send(1)

    return _three(step, by_hand, send)


def _django_alias(url: str) -> str:
    """Configure Django for one database."""
    given = conninfo_to_dict(url)
    options = {name: value for name, value in given.items() if name not in _DJANGO_NAMES}
    database = {_DJANGO_NAMES[name]: value for name, value in given.items() if name in _DJANGO_NAMES}
    engine = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options, **database}
    if not django_settings.configured:
        django_settings.configure(DATABASES={"default": engine})
        django.setup()
    return "default"


#: What Django calls the parts of a URL.
_DJANGO_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


LIBRARIES: dict[str, Callable[..., list[Step]]] = {
    "psycopg": psycopg_steps,
    "asyncpg": asyncpg_steps,
    "Django": django_steps,
    **{
        f"SQLAlchemy, {driver}{', session' if session else ''}": lambda *args, driver=driver, session=session: (
            sqlalchemy_steps(*args, driver=driver, session=session)
        )
        for driver in ("psycopg", "psycopg2", "pg8000")
        for session in (False, True)
    },
    **{
        f"SQLAlchemy, {driver}, async": lambda *args, driver=driver: async_sqlalchemy_steps(
            *args, driver=driver
        )
        for driver in ("psycopg", "asyncpg")
    },
}


def measure(steps: list[Step], *, rounds: int) -> list[float]:
    """The milliseconds of each step in its quickest tenth of rounds: what it takes when nothing else is in the way."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, found in zip(steps, taken, strict=True):
            began = time.perf_counter()
            step()
            found.append((time.perf_counter() - began) * 1000)
    return [statistics.quantiles(found, n=10)[0] for found in taken]


def _options(url: str, driver: str) -> dict[str, Any]:
    """What an engine is made with; pg8000 wants to be told of a socket in a way of its own."""
    given = sqlalchemy.make_url(url).set(drivername=f"postgresql+{driver}")
    directory = given.query.get("host")
    if driver != "pg8000" or directory is None:
        return {"url": given}
    socket = f"{directory}/.s.PGSQL.{given.query.get('port', 5432)}"
    return {"url": given.set(query={}), "connect_args": {"unix_sock": socket}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--url", help="a server over TCP, where a schema is made and dropped; none: the bundled one"
    )
    parser.add_argument("--rounds", type=int, default=300, help="transactions of each kind, in turn")
    given = parser.parse_args()
    with server(given.url) as url, fresh_schema(url):
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS pgqueue_bench_orders (id bigserial, text text)")
        try:
            _print_table(url, rounds=given.rounds)
        finally:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute("DROP TABLE pgqueue_bench_orders")


def note(number: int) -> None:
    """What the messages ask for; nobody runs them."""


def _print_table(url: str, *, rounds: int) -> None:
    broker = PostgresBroker(url, schema=SCHEMA)
    actor = pgqueue.actor(broker=broker)(note)
    actor.send(1)
    with broker.database.connection() as conn:
        (lane,) = (known.id for known in list_lanes(conn, broker.database.statements))
    print(f"{'ms a transaction':32} {'insert':>8} {'+ bare':>8} {'+ send':>8}   {'send / bare':>11}")
    for name, library in LIBRARIES.items():
        with ExitStack() as stack:
            steps = library(url, Bare(broker, lane, actor), actor, stack)
            measure(steps, rounds=20)
            alone, bare, send = measure(steps, rounds=rounds)
        ratio = (send - alone) / (bare - alone) if bare > alone else float("nan")
        print(f"{name:32} {alone:8.2f} {bare - alone:+8.2f} {send - alone:+8.2f}   {ratio:11.2f}", flush=True)
    broker.close()


if __name__ == "__main__":
    main()
