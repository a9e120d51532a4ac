"""One server of several: the one that the newest connection has found."""

import threading
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgqueue.errors import DatabaseUnavailable
from pgqueue.storage.answering import AnsweringConnection
from pgqueue.storage.database import Database, translated
from pgqueue.storage.servers import Servers
from tests.support.eventually import eventually

BOTH = "postgresql://app@one:5433,two:5434/app?target_session_attrs=read-write"

ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(%' AND state = 'active'"


@dataclass
class Place:
    """What a connection tells of where it leads."""

    host: str
    port: int


@dataclass
class Spoken:
    """A connection to somewhere."""

    info: Place
    server: str = ""


def silent(*places: tuple[str, int]) -> Servers:
    servers = Servers()
    for host, port in places:
        servers.fell_silent(Spoken(Place(host, port)))  # type: ignore[arg-type]  # only what is looked at
    return servers


class TestOrder:
    """`Servers.in_order`."""

    def test_a_silent_server_is_tried_last(self) -> None:
        found = conninfo_to_dict(silent(("one", 5433)).in_order(BOTH))
        assert (found["host"], found["port"]) == ("two,one", "5434,5433")
        assert (found["user"], found["target_session_attrs"]) == ("app", "read-write")

    def test_addresses_move_with_their_names_and_one_port_is_all_ports(self) -> None:
        url = "host=one,two,three hostaddr=10.0.0.1,10.0.0.2,10.0.0.3 port=5433 target_session_attrs=primary"
        found = conninfo_to_dict(silent(("one", 5433)).in_order(url))
        assert (found["host"], found["hostaddr"]) == ("two,three,one", "10.0.0.2,10.0.0.3,10.0.0.1")
        assert found["port"] == "5433,5433,5433"

    def test_of_silent_ones_the_first_to_fall_silent_is_tried_first(self) -> None:
        servers = silent(("two", 5434), ("one", 5433))
        assert conninfo_to_dict(servers.in_order(BOTH))["host"] == "two,one"

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://one:5433/app?target_session_attrs=read-write",
            "postgresql://one:5433,two:5434/app",
            "postgresql://one:5433,two:5434/app?target_session_attrs=any",
            "dbname=app",
        ],
        ids=["one", "no wish", "any", "no host"],
    )
    def test_where_the_order_could_decide_more_it_stays(self, url: str) -> None:
        assert silent(("one", 5433)).in_order(url) == url

    def test_it_stays_while_all_answer(self) -> None:
        assert Servers().in_order(BOTH) == BOTH

    def test_silence_is_forgiven(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("pgqueue.storage.servers.LAST_FOR_S", -1.0)
        assert silent(("one", 5433)).in_order(BOTH) == BOTH


def test_connections_know_their_server(database_url: str) -> None:
    database = Database(database_url)
    with database.connect(application_name="pgqueue test") as own, database.connection() as pooled:
        assert isinstance(own, AnsweringConnection)
        assert isinstance(pooled, AnsweringConnection)
        assert own.server == pooled.server == database.servers.current != ""
        database.check(own)
        database.servers.current = "another"
        with pytest.raises(psycopg.OperationalError, match="another server"):
            database.check(own)
    database.close()


def test_of_a_pool_connections_that_lead_elsewhere_are_replaced(database_url: str) -> None:
    database = Database(database_url)
    with database.connection() as before:
        database.servers.current = "another"
    with database.connection() as after:
        assert isinstance(after, AnsweringConnection)
        assert after is not before
        assert after.server == database.servers.current
    database.close()


def test_what_waits_on_another_server_is_given_up(database_url: str) -> None:
    """A commit of an old primary that waits for its standby may do so for ever."""
    database = Database(database_url, patience_s=float("inf"))
    errors: list[Exception] = []

    def wait() -> None:
        try:
            with database.connection() as conn:
                conn.execute("SELECT pg_sleep(60)")
        except DatabaseUnavailable as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with psycopg.connect(database_url, autocommit=True) as conn:
        eventually(lambda: _assert(conn.execute(ACTIVE).fetchone() == (1,)))
    database.servers.current = "another"
    waiting.join(20.0)
    assert not waiting.is_alive()
    assert "another server" in str(errors)
    database.close()


def test_transactions_of_actors_lead_to_the_same_server(database_url: str) -> None:
    database = Database(database_url)
    assert database.apart(application_name="pgqueue actor", max_connections=1).servers is database.servers


def test_a_server_that_takes_no_writes_is_left(database_url: str) -> None:
    """A pool would hand its connections out for ever: they are as good as any, but for writes."""
    database = Database(database_url)
    with database.connection() as before:
        before.execute("SET default_transaction_read_only = on")
    with (
        pytest.raises(DatabaseUnavailable, match="target_session_attrs=read-write"),
        database.connection() as found,
    ):
        found.execute("CREATE TABLE never (never int)")
    assert found is before
    with database.connection() as after:
        assert after is not before
        after.execute("CREATE TABLE now (now int)")
    database.close()


def test_it_is_said_of_own_connections_too(database_url: str) -> None:
    database = Database(database_url)
    with (
        database.connect(
            application_name="pgqueue test", settings={"default_transaction_read_only": "on"}
        ) as conn,
        pytest.raises(DatabaseUnavailable, match="takes no writes"),
        translated(database),
    ):
        conn.execute("CREATE TABLE never (never int)")


def _assert(fact: object) -> None:
    assert fact
