"""Databases whose texts are not in UTF-8: initdb makes them so where no locale is set, as in many containers."""

import asyncio
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool

import pgqueue
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import main
from pgqueue.errors import BrokerNotConfigured
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def url(request: pytest.FixtureRequest, empty_database_url: str) -> Iterator[str]:
    """A database in that encoding, with our tables."""
    name = f"encoding_{request.param.lower()}"
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(
            f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0".encode()
        )
        url = make_conninfo(empty_database_url, dbname=name)
        schema.upgrade(url)
        yield url
        conn.execute(f"DROP DATABASE {name} (FORCE)".encode())


@pytest.mark.slow
def test_messages_are_sent_and_run_whatever_the_encoding_of_the_database(
    url: str, worker_for: WorkerFor, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(PostgresBroker(url)) as broker:
        broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))

        @pgqueue.actor(broker=broker, queue_name="sizes", max_retries=0)
        def greet(name: str) -> str:
            if name == "Ömer":
                raise ValueError(f"no {name}")
            return f"Grüß Gott, {name}"

        with psycopg.connect(url) as conn, pgqueue.transaction(conn):
            sent = [greet.send("Änne"), greet.send("Ömer")]
        sent.append(greet.send("Ute"))
        sent.append(asyncio.run(send_async(broker, greet)))
        worker_for(broker)
        assert (
            sent[0].get_result(backend=broker_results(broker), block=True, timeout=10_000)
            == "Grüß Gott, Änne"
        )
        eventually(lambda: counted(broker, "sizes"))
    failed = sent[1].message_id
    for words, said in (
        (["migrate", "--check"], "up to date"),
        (["queues"], "sizes"),
        (["dead"], "no Ömer"),
        (["dead", "show", failed], "no Ömer"),
        (["why", failed], "no Ömer"),
        (["doctor"], "dead letters: 1"),
    ):
        code, output = main([*words, "--url", url]), capsys.readouterr()
        assert code in {0, 1}, output.err
        assert said in output.out


async def send_async(broker: PostgresBroker, actor: "pgqueue.Actor[..., str]") -> "pgqueue.Message[str]":
    """Send from a coroutine."""
    sent = await actor.send_async("Ida")
    await broker.close_async()
    return sent


def broker_results(broker: PostgresBroker) -> PostgresBackend:
    """Where its results are."""
    return PostgresBackend(broker=broker)


def counted(broker: PostgresBroker, queue_name: str) -> None:
    """One has died, the others have run."""
    assert broker.get_queue_message_counts(queue_name) == (0, 0, 1)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_our_own_connections_speak_utf_8_whatever_the_url_says(
    empty_database_url: str, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    url = make_conninfo(empty_database_url, client_encoding=encoding)
    assert main(["migrate", "--url", url]) == 0
    with closing(PostgresBroker(url)) as broker:
        pgqueue.actor(broker=broker)(print).send("漢")
        with broker.database.connection() as pooled, broker.database.connect(application_name="test") as own:
            assert (
                pooled.execute("SELECT '漢'").fetchone() == own.execute("SELECT '漢'").fetchone() == ("漢",)
            )
    assert main(["queues", "--url", url]) == 0
    assert "default" in capsys.readouterr().out


def test_a_pool_in_which_texts_are_bytes_is_refused(empty_database_url: str) -> None:
    conninfo = make_conninfo(empty_database_url, client_encoding="SQL_ASCII")
    with (
        ConnectionPool(conninfo, min_size=1, open=True) as pool,
        closing(PostgresBroker(pool=pool)) as broker,
    ):
        actor = pgqueue.actor(broker=broker)(print)
        with pytest.raises(BrokerNotConfigured, match="client_encoding='utf8'"):
            actor.send("x")
