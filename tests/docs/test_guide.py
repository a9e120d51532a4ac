"""The guide says what is so: its examples run, its commands exist, its grants are enough."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import COMMANDS, _command_parser, make_argument_parser
from pgqueue.errors import PermissionDenied
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor

from .pages import blocks_of, commands_in, page, run_python, sections

GUIDE = page("guide.md")

WITH_PYTHON = [
    title for title, blocks in sections(GUIDE).items() if any(block.language == "python" for block in blocks)
]

ROLES = ("app_worker", "app_producer")


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(
    title: str, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    run_python(
        blocks_of(GUIDE, title, "python"),
        path=GUIDE,
        start_workers=lambda: worker_for(pgqueue.get_broker(), worker_threads=4),
    )


@pytest.mark.parametrize("words", list(commands_in(GUIDE)), ids=" ".join)
def test_the_commands_are_understood(words: list[str]) -> None:
    if words[0] in COMMANDS:
        _command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        make_argument_parser().parse_intermixed_args(words)


def test_every_option_of_actors_is_named(stub_broker: pgqueue.Broker) -> None:
    text = GUIDE.read_text()
    options = stub_broker.actor_options | stub_broker.own_actor_options | {"store_results", "result_ttl"}
    assert {name for name in options if f"`{name}`" not in text} == {"pipe_target"}


def test_every_section_is_in_the_contents() -> None:
    text = GUIDE.read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in text] == []


class TestRoles:
    @pytest.fixture
    def as_owner(self, database_url: str) -> Iterator[psycopg.Connection]:
        """A connection of the owner of the tables; both roles exist meanwhile."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            for role in ROLES:
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
            yield connection
            for role in ROLES:
                connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())

    @pytest.fixture
    def broker_as(self, database_url: str) -> Iterator[Callable[[str], PostgresBroker]]:
        """The maker of brokers that connect as a role."""
        made: list[PostgresBroker] = []

        def make(role: str) -> PostgresBroker:
            broker = PostgresBroker(make_conninfo(database_url, user=role, password="secret"))
            broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
            broker.add_middleware(GroupCallbacks(LimiterBackend(broker=broker)))
            made.append(broker)
            return broker

        yield make
        for broker in made:
            broker.close()

    def test_the_grants_are_enough_for_workers_and_for_producers(
        self,
        as_owner: psycopg.Connection,
        broker_as: Callable[[str], PostgresBroker],
        as_global_broker: Callable[[pgqueue.Broker], None],
        worker_for: WorkerFor,
        running_workers: list[pgqueue.Worker],
    ) -> None:
        def double(number: int) -> int:
            if number < 0:
                raise ValueError(number)
            return 2 * number

        workers, producers = broker_as("app_worker"), broker_as("app_producer")
        pgqueue.actor(broker=workers, max_retries=1, min_backoff=10)(double)
        sender = pgqueue.actor(broker=producers)(double)
        as_global_broker(producers)
        first, second = blocks_of(GUIDE, "Schemas and roles", "sql")
        as_owner.execute(first.text.encode())
        worker_for(workers)

        sent = [sender.send(4), sender.send_with_options(args=(5,), delay=50), *sender.send_many([(6,)])]
        failing = sender.send(-1)
        with pytest.raises(PermissionDenied, match="results"):
            sent[0].get_result(block=True, timeout=1000)

        as_owner.execute(second.text.encode())
        assert [message.get_result(block=True, timeout=15_000) for message in sent] == [8, 10, 12]
        group = pgqueue.group([sender.message(7)])
        group.add_completion_callback(sender.message(8))
        assert list(group.run().get_results(block=True, timeout=10_000)) == [14]
        producers.join("default", timeout=10_000)
        assert failing.status() is pgqueue.MessageStatus.FAILED
        assert producers.get_queue_message_counts("default") == (0, 0, 1)
        with pytest.raises(PermissionDenied):
            producers.flush("default")
        running_workers.pop().stop()
