"""A network that falls silent is noticed, although every connection seems to be open."""

import asyncio
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgqueue import schema
from pgqueue.brokers import _asking, _sending
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import acker, fetcher, listener
from pgqueue.errors import DatabaseUnavailable
from pgqueue.message import Message
from pgqueue.storage import transactions
from pgqueue.storage.answering import ANSWER_S, AnsweringConnection
from pgqueue.storage.async_database import AsyncDatabase
from pgqueue.storage.database import Database, translated
from tests.support.eventually import eventually
from tests.support.proxy import Proxy, refusing_port

#: Where the settings of the server for dead networks are from; on a socket their values are always 0.
DEAD_NETWORK = "SELECT DISTINCT source FROM pg_settings WHERE name LIKE 'tcp_%'"

ACTIVE = """SELECT count(*) FROM pg_stat_activity
    WHERE query LIKE 'SELECT pg_sleep(%' AND state = 'active' AND datname = current_database()"""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(database_url) as proxy:
        yield proxy


def connect(database: Database, *, within_s: float) -> AnsweringConnection:
    connection = database.connect(application_name="pgqueue test")
    assert isinstance(connection, AnsweringConnection)
    connection.answer_within_s = within_s
    return connection


def message(name: str = "note") -> Message[None]:
    return Message(queue_name="default", actor_name=name, args=(), kwargs={}, options={})


def waiting(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM pgqueue.ready").fetchone()
    return int(row[0]) if row else -1


def test_a_silent_connection_is_given_up_and_the_next_one_works(proxy: Proxy) -> None:
    database = Database(proxy.url)
    connection = connect(database, within_s=0.4)
    proxy.silence()
    with pytest.raises(DatabaseUnavailable, match="has not answered"), translated(database):
        connection.execute("SELECT 1")
    assert connection.closed
    proxy.restore()
    with database.connect(application_name="pgqueue test") as another:
        assert another.execute("SELECT 1").fetchone() == (1,)


def test_it_is_given_up_in_the_midst_of_a_transaction(proxy: Proxy) -> None:
    database = Database(proxy.url)
    connection = connect(database, within_s=0.4)

    def write() -> None:
        with translated(database), connection.transaction():
            connection.execute("SELECT 1")
            proxy.silence()
            connection.execute("SELECT 2")

    with pytest.raises(DatabaseUnavailable):
        write()
    assert connection.closed


def test_what_is_not_answered_in_time_is_not_done_later(database_url: str) -> None:
    database = Database(database_url)
    connection = connect(database, within_s=0.4)
    with psycopg.connect(database_url, autocommit=True) as other:
        with pytest.raises(DatabaseUnavailable), translated(database):
            connection.execute("SELECT pg_sleep(60)")

        def look() -> None:
            assert other.execute(ACTIVE).fetchone() == (0,)

        eventually(look)


def test_an_answer_in_time_is_one(database_url: str) -> None:
    connection = connect(Database(database_url), within_s=30.0)
    assert connection.execute("SELECT pg_sleep(0.3), 1").fetchone() == ("", 1)
    connection.close()


@pytest.mark.parametrize("kind", ["thread", "coroutine"])
def test_a_message_that_is_sent_into_silence_is_sent_once_it_is_over(
    proxy: Proxy, database_url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(_sending, "ANSWER_S", 0.4)
    monkeypatch.setattr(_asking, "RETRY_S", 0.05)
    broker = PostgresBroker(proxy.url)

    async def send() -> None:
        await broker.enqueue_async(message())
        restored = asyncio.get_running_loop().run_in_executor(None, fall_silent_for_a_while)
        await broker.enqueue_async(message())
        await restored
        await broker.close_async()

    def fall_silent_for_a_while() -> None:
        proxy.silence()
        time.sleep(0.6)
        proxy.restore()

    if kind == "coroutine":
        asyncio.run(send())
    else:
        broker.enqueue(message())
        proxy.silence()
        timer = threading.Timer(0.6, proxy.restore)
        timer.start()
        broker.enqueue(message())
        timer.join()
        broker.close()
    assert waiting(database_url) == 2


def test_pooled_connections_from_before_a_silence_are_looked_at_before_they_are_used(
    proxy: Proxy, database_url: str
) -> None:
    database = Database(proxy.url)
    with database.connection() as first, database.connection() as second:
        for connection in (first, second):
            connection.execute("SELECT 1")
    proxy.silence()
    proxy.restore()
    watcher = connect(Database(proxy.url), within_s=0.3)
    proxy.silence()
    with pytest.raises(psycopg.OperationalError):
        watcher.execute("SELECT 1")
    proxy.restore()
    with database.connection() as connection:
        # A minute is what a statement of the pool may take.
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection not in {first, second}
    assert first.closed or second.closed
    database.close()


def test_after_a_silence_only_the_doubtful_are_looked_at_and_keep_their_patience(database_url: str) -> None:
    database = Database(database_url)
    sound, broken = connect(database, within_s=20.0), connect(database, within_s=0.3)
    sound.check()
    with pytest.raises(psycopg.OperationalError):
        broken.execute("SELECT pg_sleep(60)")
    sound.check()
    assert sound.answer_within_s == 20.0
    assert sound.execute("SELECT 1").fetchone() == (1,)
    sound.close()


def test_no_statement_of_a_workers_may_take_as_long_as_silence_is_borne(database_url: str) -> None:
    for settings in (acker.SETTINGS, fetcher.SETTINGS, listener.SETTINGS):
        assert float(settings["statement_timeout"].removesuffix("s")) < ANSWER_S
    assert float(listener.SETTINGS["lock_timeout"].removesuffix("s")) < ANSWER_S


def test_every_connection_has_time_outs_unless_the_url_has_others(database_url: str) -> None:
    broker = PostgresBroker(database_url)
    with (
        broker.database.connect(application_name="pgqueue test") as own,
        broker.database.connection() as pooled,
    ):
        for connection, connect_timeout in ((own, "5"), (pooled, "10")):
            given = connection.info.get_parameters()
            assert given["connect_timeout"] == connect_timeout
            assert (given["keepalives_idle"], given["keepalives_interval"], given["keepalives_count"]) == (
                "5",
                "2",
                "3",
            )
            assert given["tcp_user_timeout"] == "11000"
    broker.close()
    chosen = Database(make_conninfo(database_url, connect_timeout=3, keepalives_idle=60))
    with chosen.connect(application_name="pgqueue test") as own:
        given = own.info.get_parameters()
        assert (given["connect_timeout"], given["keepalives_idle"], given["keepalives_count"]) == (
            "3",
            "60",
            "3",
        )


def test_the_server_finds_out_soon_that_a_client_is_gone(database_url: str) -> None:
    """Where an application's transactions are, too, whatever a run has made of its session."""
    database = Database(database_url)
    apart = database.apart(application_name="pgqueue actor", max_connections=1)
    with database.connect(application_name="pgqueue test") as own, database.connection() as pooled:
        assert [dead_network(own), dead_network(pooled)] == ["session"] * 2
    for _ in range(2):
        with apart.connection() as conn:
            assert dead_network(conn) == "session"
            transactions.restore(conn, database.statements, settings=apart.server_side)
            assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("0",)

    async def ask() -> tuple[object, ...] | None:
        loop = AsyncDatabase(database, max_connections=1)
        async with loop.connection() as conn:
            cursor = await conn.execute(DEAD_NETWORK)
            row = await cursor.fetchone()
        await loop.close_async()
        return row

    assert asyncio.run(ask()) == ("session",)
    apart.close()
    database.close()


def dead_network(conn: "psycopg.Connection[tuple[object, ...]]") -> object:
    """Where the settings for one are from."""
    (source,) = conn.execute(DEAD_NETWORK).fetchall()
    return source[0]


def test_a_transactional_actors_statements_may_take_any_time(database_url: str) -> None:
    database = Database(database_url, patience_s=0.3)
    apart = database.apart(application_name="pgqueue actor", max_connections=1)
    with pytest.raises(DatabaseUnavailable), database.connection() as conn:
        conn.execute("SELECT pg_sleep(60)")
    with apart.connection() as conn:
        assert conn.execute("SELECT pg_sleep(0.5), 1").fetchone() == ("", 1)
    apart.close()
    database.close()


def test_of_several_servers_the_one_that_takes_writes_is_used(empty_database_url: str) -> None:
    given = psycopg.conninfo.conninfo_to_dict(empty_database_url)
    with refusing_port() as held:
        url = make_conninfo(
            empty_database_url,
            host=f"127.0.0.1,{given['host']}",
            port=f"{held.getsockname()[1]},{given.get('port', 5432)}",
            target_session_attrs="read-write",
        )
        schema.upgrade(url)
        broker = PostgresBroker(url)
        broker.enqueue(message())
        consumer = broker.consume("default", timeout=5000)
        received = next(iter(consumer))
        assert received is not None
        consumer.ack(received)
        consumer.close()
        broker.close()
    assert waiting(empty_database_url) == 0
