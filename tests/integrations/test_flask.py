"""The Flask extension, on a Flask application with Flask-SQLAlchemy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, current_app, has_app_context
from flask_sqlalchemy import SQLAlchemy
from psycopg.conninfo import make_conninfo
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

import pgqueue
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import BrokerNotConfigured, NotATarget, PgQueueError
from pgqueue.integrations import flask as integration
from pgqueue.integrations.flask import PGQueue
from pgqueue.transactions import unregister_ambient
from tests.conftest import WorkerFor
from tests.support.processes import Process
from tests.support.project import Project, stop, wait_for_workers

APP = """
import flask, pgqueue
from pgqueue.integrations.flask import PGQueue

queue = PGQueue()

@pgqueue.actor
def note(number):
    flask.current_app.extensions["pgqueue"]
    print(f"noted {number} in {flask.current_app.name}", flush=True)

def create_app():
    app = flask.Flask("shop")
    queue.init_app(app)

    @app.cli.command("send")
    def send():
        note.send(7)

    return app
"""


class Shop:
    """An application with a table, an actor and a view."""

    def __init__(self, url: str, **config: object) -> None:
        self.db = SQLAlchemy()
        self.queue = PGQueue()
        self.seen: list[tuple[str, int]] = []
        self.app = Flask("shop")
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=url.replace("postgresql://", "postgresql+psycopg://", 1),
            PGQUEUE_HEALTH_PATH="/health/queue",
            **config,
        )
        self.db.init_app(self.app)
        self.queue.init_app(self.app)

        @pgqueue.actor
        def note(number: int) -> None:
            self.seen.append((current_app.name, number))
            if number < 0:
                raise ValueError(number)

        self.note = note

        @self.app.post("/orders/<int:number>")
        def order(number: int) -> str:
            self.db.session.execute(text("INSERT INTO orders VALUES (:number)"), {"number": number})
            note.send(number)
            if number == 13:
                raise LookupError(number)
            self.db.session.commit()
            return "ok"

        with self.app.app_context():
            self.db.session.execute(text("CREATE TABLE IF NOT EXISTS orders (number integer)"))
            self.db.session.commit()

    @property
    def broker(self) -> PostgresBroker:
        assert isinstance(self.queue.broker, PostgresBroker)
        return self.queue.broker

    def waiting(self) -> int:
        """How many messages others see."""
        return self.broker.get_queue_message_counts("default")[0]

    def close(self) -> None:
        unregister_ambient(self.queue._session)
        self.queue.broker.close()
        with self.app.app_context():
            self.db.engine.dispose()


@pytest.fixture
def shop(stub_broker: StubBroker, database_url: str) -> Iterator[Shop]:
    """Its broker is the process's; the one before comes back after the test."""
    made = Shop(database_url)
    yield made
    made.close()


class TestSession:
    def test_a_message_is_invisible_before_the_commit_and_runs_after_it(
        self, shop: Shop, worker_for: WorkerFor
    ) -> None:
        worker = worker_for(shop.broker, worker_threads=1)
        with shop.app.app_context():
            shop.db.session.execute(text("INSERT INTO orders VALUES (1)"))
            shop.note.send(1)
            assert shop.waiting() == 0
            shop.db.session.commit()
        shop.broker.join("default", timeout=20_000)
        worker.stop()
        assert shop.seen == [("shop", 1)]

    def test_a_request_that_fails_sends_nothing(self, shop: Shop) -> None:
        client = shop.app.test_client()
        assert client.post("/orders/13").status_code == 500
        assert shop.waiting() == 0
        assert client.post("/orders/14").status_code == 200
        assert shop.waiting() == 1

    def test_an_event_after_the_commit_sends_at_once(self, shop: Shop) -> None:
        with shop.app.app_context():
            event.listen(shop.db.session, "after_commit", lambda _session: shop.note.send(1))
            shop.db.session.execute(text("INSERT INTO orders VALUES (1)"))
            shop.db.session.commit()
        assert shop.waiting() == 1

    def test_without_a_transaction_a_message_is_sent_at_once(self, shop: Shop) -> None:
        shop.note.send(1)
        with shop.app.app_context():
            shop.note.send(2)
            assert shop.waiting() == 2

    @pytest.mark.parametrize("config", [{"PGQUEUE_JOIN_SESSION": False}, {"PGQUEUE_URL": "another"}])
    def test_the_session_of_another_database_or_an_unwanted_one_is_not_joined(
        self, config: dict[str, object], stub_broker: StubBroker, database_url: str
    ) -> None:
        if "PGQUEUE_URL" in config:
            config = {"PGQUEUE_URL": make_conninfo(database_url, application_name="queue")}
        shop = Shop(database_url, **config)
        try:
            with shop.app.app_context():
                shop.db.session.execute(text("INSERT INTO orders VALUES (1)"))
                shop.note.send(1)
                assert shop.waiting() == 1
        finally:
            shop.close()


class TestRunMessages:
    def test_messages_run_in_a_context_of_their_own_before_the_commit(self, shop: Shop) -> None:
        with shop.app.app_context():
            shop.db.session.execute(text("INSERT INTO orders VALUES (1)"))
            shop.note.send(1)
            assert shop.queue.run_messages() == 1
            shop.db.session.rollback()
        assert shop.seen == [("shop", 1)]
        assert not has_app_context()

    def test_the_first_failure_is_raised_and_its_context_left(self, shop: Shop) -> None:
        shop.note.send(-1)
        with pytest.raises(ValueError, match="-1"):
            shop.queue.run_messages()
        assert not has_app_context()

    def test_delayed_messages_run_if_asked_for(self, shop: Shop) -> None:
        shop.note.send_with_options(args=(1,), delay=3_600_000)
        assert shop.queue.run_messages() == 0
        assert shop.queue.run_messages(delayed=True) == 1

    def test_what_has_failed_is_run_again_by_a_call_for_delayed_messages(self, shop: Shop) -> None:
        errors: list[Exception] = [ValueError("no"), pgqueue.Retry(delay=3_600_000)]

        @pgqueue.actor(broker=shop.queue.broker, max_retries=3)
        def flaky() -> None:
            if errors:
                raise errors.pop()

        flaky.send()
        assert shop.queue.run_messages() == 1  # a Retry ends nothing
        assert shop.queue.run_messages() == 0
        with pytest.raises(ValueError, match="no"):
            shop.queue.run_messages(delayed=True)
        assert shop.queue.run_messages(delayed=True) == 1
        assert shop.queue.run_messages(delayed=True) == 0

    def test_a_transactional_actor_runs_in_a_savepoint_of_the_session(self, shop: Shop) -> None:
        @pgqueue.actor(transactional=True, broker=shop.queue.broker)
        def charge(number: int) -> None:
            session = pgqueue.current_transaction().session()
            session.execute(text("INSERT INTO orders VALUES (:number)"), {"number": number})
            shop.note.send(number)
            if number < 0:
                raise RuntimeError(number)

        with shop.app.app_context():
            shop.db.session.execute(text("INSERT INTO orders VALUES (1)"))
            charge.send(2)
            assert shop.queue.run_messages() == 2
            charge.send(-3)
            with pytest.raises(RuntimeError, match="-3"):
                shop.queue.run_messages()
            rows = shop.db.session.execute(text("SELECT * FROM orders ORDER BY 1")).scalars()
            assert list(rows) == [1, 2]
            shop.db.session.rollback()
            assert list(shop.db.session.execute(text("SELECT * FROM orders")).scalars()) == []
        assert shop.seen == [("shop", 2)]

    def test_a_transactional_actor_has_a_transaction_of_its_own_outside_of_sessions(self, shop: Shop) -> None:
        @pgqueue.actor(transactional=True, broker=shop.queue.broker)
        def charge(number: int) -> None:
            pgqueue.current_transaction().connection.execute("INSERT INTO orders VALUES (%s)", (number,))
            shop.note.send(number)

        charge.send(2)
        assert shop.queue.run_messages() == 2
        assert shop.seen == [("shop", 2)]

    def test_a_transactional_actor_needs_psycopg(self, database_url: str) -> None:
        shop = Shop(database_url.replace("postgresql://", "postgresql+psycopg2://", 1))
        try:

            @pgqueue.actor(transactional=True, broker=shop.queue.broker)
            def charge() -> None:
                pgqueue.current_transaction().connection.execute("SELECT 1")

            with shop.app.app_context():
                shop.db.session.execute(text("SELECT 1"))
                charge.send()
                with pytest.raises(
                    NotATarget, match="'charge' is transactional, and such ones run on psycopg 3"
                ):
                    shop.queue.run_messages()
        finally:
            shop.close()

    def test_a_broker_in_memory_says_how_it_is_done(self, stub_broker: StubBroker) -> None:
        queue = PGQueue(Flask("shop"), broker=stub_broker)
        unregister_ambient(queue._session)
        with pytest.raises(PgQueueError, match="start a Worker"):
            queue.run_messages()


class TestHealth:
    def test_it_answers_at_the_configured_path(self, shop: Shop) -> None:
        answer = shop.app.test_client().get("/health/queue")
        assert answer.status_code == 200
        assert answer.get_json() == {"status": "ok", "database": True, "schema": True, "workers": 0}

    def test_too_few_workers_make_it_fail(self, shop: Shop) -> None:
        shop.app.config["PGQUEUE_LEAST_WORKERS"] = 1
        assert shop.app.test_client().get("/health/queue").status_code == 503

    def test_without_a_path_there_is_none(self, stub_broker: StubBroker) -> None:
        app = Flask("shop")
        unregister_ambient(PGQueue(app, broker=stub_broker)._session)
        assert [rule.endpoint for rule in app.url_map.iter_rules()] == ["static"]


class TestConfiguration:
    def test_the_url_may_be_an_object_and_keeps_its_password(self, stub_broker: StubBroker) -> None:
        queue = PGQueue()
        unregister_ambient(queue._session)
        with pytest.raises(BrokerNotConfigured, match=r"call queue.init_app\(app\)"):
            queue._url()
        app = Flask("shop")
        app.config["SQLALCHEMY_DATABASE_URI"] = make_url("postgresql+psycopg://me:secret@somewhere/app")
        SQLAlchemy(app)
        queue.init_app(app)
        assert queue._url() == "postgresql://me:secret@somewhere/app"

    def test_the_environment_comes_last(
        self, stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGQUEUE_URL", "postgresql://environment/app")
        queue = PGQueue(app := Flask("shop"))
        unregister_ambient(queue._session)
        assert queue._url() == "postgresql://environment/app"
        app.config["PGQUEUE_URL"] = "postgresql://configuration/app"
        assert queue._url() == "postgresql://configuration/app"

    def test_an_application_without_a_queue_has_no_workers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "bare.py").write_text("import flask\napp = flask.Flask('bare')\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FLASK_APP", "bare")
        with pytest.raises(BrokerNotConfigured, match="'bare' has no PGQueue"):
            integration.load()


@pytest.mark.slow
class TestCommands:
    def test_workers_run_messages_in_the_application(
        self, tmp_path: Path, programs: list[Process], empty_database_url: str
    ) -> None:
        project = Project(tmp_path, programs)
        project.write("shop.py", APP)
        flask = ["-m", "flask", "--app", "shop"]
        env: dict[str, str | None] = {"PGQUEUE_URL": empty_database_url}
        migrated = project.start_python(*flask, "pgqueue", "migrate", env=env)
        assert migrated.wait() == 0, migrated.output
        assert schema.current(empty_database_url) == schema.head()
        sent = project.start_python(*flask, "send", env=env)
        assert sent.wait() == 0, sent.output
        worker = project.start_python(*flask, "pgqueue", "worker", "-p", "1", "-t", "1", env=env)
        wait_for_workers(worker, 1)
        worker.wait_for("noted 7 in shop")
        assert stop(worker) == 0
        shown = project.start_python(*flask, "pgqueue", "worker", "--help", env=env)
        assert shown.wait() == 0, shown.output
        assert "--worker-shutdown-timeout" in shown.output

    def test_the_factory_itself_is_what_workers_may_load(
        self, tmp_path: Path, programs: list[Process], database_url: str
    ) -> None:
        project = Project(tmp_path, programs)
        project.write("shop.py", APP)
        env: dict[str, str | None] = {"PGQUEUE_URL": database_url}
        worker = project.start("shop:create_app", "-p", "1", "-t", "1", env=env)
        wait_for_workers(worker, 1)
        sent = project.start_python("-m", "flask", "--app", "shop", "send", env=env)
        assert sent.wait() == 0, sent.output
        worker.wait_for("noted 7 in shop")
        assert stop(worker) == 0
