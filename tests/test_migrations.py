"""The schema: its revisions, the ways to run them, and what they leave to others."""

import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from alembic.autogenerate import produce_migrations
from alembic.migration import MigrationContext
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import MetaData, create_engine

from pgqueue import schema
from pgqueue.embedded.binaries import Binaries
from pgqueue.errors import BrokerNotConfigured, PgQueueError
from pgqueue.storage.database import REQUIRED_REVISION

from .support.postgres import Databases
from .support.processes import ROOT
from .support.snapshot import SNAPSHOT, dump

OBJECTS = """
    SELECT c.relkind::text, c.relname, coalesce(pg_get_indexdef(c.oid), '')
    FROM pg_class AS c WHERE c.relnamespace = to_regnamespace(%s) ORDER BY 1, 2
"""


def objects(url: str, name: str = "pgqueue") -> list[tuple[str, str, str]]:
    quoted = '"' + name.replace('"', '""') + '"'
    with psycopg.connect(url) as connection:
        rows = connection.execute(OBJECTS, [quoted]).fetchall()
    return [
        (kind, relation, re.sub(rf"{re.escape(quoted)}\.|{re.escape(name)}\.", "", index))
        for kind, relation, index in rows
    ]


def tables(url: str, name: str = "pgqueue") -> set[str]:
    return {relation for kind, relation, _index in objects(url, name) if kind in {"r", "p"}}


def run_psql(url: str, text: str) -> None:
    command = [Binaries.find().program("psql"), "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", url]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)


@pytest.fixture
def ordinary_role(databases: Databases, empty_database_url: str) -> Iterator[str]:
    """The URL of an empty database that belongs to a role without any other right."""
    name = urlsplit(empty_database_url).path.removeprefix("/")
    role = f"{name}_owner"
    with psycopg.connect(databases.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {role}")
    yield make_conninfo(empty_database_url, user=role, password="secret")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        connection.execute(f"DROP ROLE {role}")


class TestRevisions:
    def test_the_head_is_what_workers_require(self) -> None:
        assert schema.head() == REQUIRED_REVISION

    def test_a_migration_of_djangos_runs_the_newest(self) -> None:
        """If this fails, add a migration like the last one to pgqueue/integrations/django/migrations."""
        package = "pgqueue.integrations.django.migrations"
        names = sorted(name for _, name, _ in pkgutil.iter_modules(import_module(package).__path__))
        steps = [import_module(f"{package}.{name}").Migration.operations[0] for name in names]
        assert steps[-1].revision == schema.head()
        assert [step.previous for step in steps] == ["base", *(step.revision for step in steps[:-1])]

    def test_up_down_and_up_again_lead_to_the_same_schema(self, empty_database_url: str) -> None:
        schema.upgrade(empty_database_url)
        first = objects(empty_database_url)
        schema.downgrade(empty_database_url)
        assert tables(empty_database_url) == {"alembic_version"}
        assert schema.current(empty_database_url) is None
        schema.upgrade(empty_database_url)
        assert objects(empty_database_url) == first
        assert schema.current(empty_database_url) == schema.head()

    def test_each_revision_can_be_taken_back_alone(self, empty_database_url: str) -> None:
        schema.upgrade(empty_database_url, revision="pgqueue_0001")
        before = objects(empty_database_url)
        schema.upgrade(empty_database_url)
        schema.downgrade(empty_database_url, revision="pgqueue_0001")
        assert objects(empty_database_url) == before
        assert schema.current(empty_database_url) == "pgqueue_0001"

    def test_messages_that_are_parked_are_ready_again_where_nobody_can_park(
        self, empty_database_url: str
    ) -> None:
        schema.upgrade(empty_database_url)
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(
                """INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, actor_name, payload)
                SELECT n, now(), gen_random_uuid(), 1, 0, 'work', n::text::bytea FROM generate_series(1, 3) AS n"""
            )
            schema.downgrade(empty_database_url, revision="pgqueue_0003")
            rows = connection.execute(
                """SELECT convert_from(message.payload, 'UTF8')
                FROM pgqueue.ready JOIN pgqueue.messages AS message USING (slot, lane, xid, id) ORDER BY id"""
            ).fetchall()
        assert rows == [("1",), ("2",), ("3",)]

    def test_whoever_may_look_for_orders_may_look_for_those_to_workers(self, empty_database_url: str) -> None:
        schema.upgrade(empty_database_url, revision="pgqueue_0006")
        role = f"worker_of_{uuid4().hex[:8]}"
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            try:
                conn.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
                grant = "GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA pgqueue TO {}"
                conn.execute(sql.SQL(grant).format(sql.Identifier(role)))
                schema.upgrade(empty_database_url)
                for right, expected in (("SELECT", True), ("DELETE", True), ("INSERT", False)):
                    found = conn.execute(
                        "SELECT has_table_privilege(%s, 'pgqueue.worker_orders', %s)", (role, right)
                    ).fetchone()
                    assert found == (expected,), right
            finally:
                conn.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
                conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    def test_whoever_may_write_outcomes_may_write_attempts(self, empty_database_url: str) -> None:
        """A worker's role is granted its rights once; the revision comes while it is working."""
        schema.upgrade(empty_database_url, revision="pgqueue_0005")
        role = urlsplit(empty_database_url).path.removeprefix("/") + '_"worker'
        may = "SELECT has_table_privilege(%s, %s, %s)"
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            quoted = sql.Identifier(role)
            connection.execute(sql.SQL("CREATE ROLE {}").format(quoted))
            try:
                for grant in (
                    "GRANT SELECT, INSERT, TRUNCATE ON ALL TABLES IN SCHEMA pgqueue TO {}",
                    "GRANT SELECT ON pgqueue.outcomes TO PUBLIC",
                ):
                    connection.execute(sql.SQL(grant).format(quoted))
                schema.upgrade(empty_database_url)
                wanted = [
                    ("attempts", "INSERT", True), ("attempts_3", "TRUNCATE", True), ("attempts", "DELETE", False),
                    ("attempts_15", "SELECT", True), ("attempts_15", "UPDATE", False),
                ]  # fmt: skip
                found = [
                    connection.execute(may, (role, f"pgqueue.{table}", privilege)).fetchone()
                    for table, privilege, _ in wanted
                ]
                assert found == [(expected,) for *_, expected in wanted]
            finally:
                connection.execute(sql.SQL("DROP OWNED BY {}").format(quoted))
                connection.execute(sql.SQL("DROP ROLE {}").format(quoted))

    def test_a_second_upgrade_changes_nothing(self, database_url: str) -> None:
        before = objects(database_url)
        schema.upgrade(database_url)
        assert objects(database_url) == before

    def test_everything_lives_in_the_one_schema(self, empty_database_url: str) -> None:
        schema.upgrade(empty_database_url)
        assert tables(empty_database_url, "public") == set()

    @pytest.mark.parametrize("name", ["jobs", 'we"ird Näme', "a.b", "100%", "select"])
    def test_two_schemas_of_one_database_are_independent(self, database_url: str, name: str) -> None:
        before = objects(database_url)
        schema.upgrade(database_url, name)
        assert tables(database_url, name) == tables(database_url)
        schema.downgrade(database_url, name)
        assert objects(database_url) == before
        assert schema.current(database_url) == schema.head()
        assert schema.current(database_url, name) is None

    def test_a_role_that_owns_only_its_database_can_migrate(self, ordinary_role: str) -> None:
        schema.upgrade(ordinary_role)
        assert schema.current(ordinary_role) == schema.head()

    def test_looking_at_the_revision_creates_nothing(self, empty_database_url: str) -> None:
        assert schema.current(empty_database_url) is None
        with psycopg.connect(empty_database_url) as connection:
            assert connection.execute("SELECT to_regnamespace('pgqueue')").fetchone() == (None,)

    def test_an_unknown_revision_is_named(self, empty_database_url: str) -> None:
        with pytest.raises(PgQueueError, match=r"pgqueue_9999.*newest revision is pgqueue_"):
            schema.upgrade(empty_database_url, revision="pgqueue_9999")

    def test_the_snapshot_is_what_the_revisions_make(self, database_url: str) -> None:
        """If this fails, run `make schema` and look at what changed."""
        version = subprocess.run(
            [Binaries.find().program("pg_dump"), "--version"], check=True, capture_output=True, text=True
        ).stdout.split()[-1]
        with psycopg.connect(database_url) as connection:
            major = connection.info.server_version // 10_000
        if major != int(version.split(".")[0]):
            pytest.skip(f"pg_dump {version} words the schema of PostgreSQL {major} differently")
        assert dump(database_url) == SNAPSHOT.read_text()


class TestUrls:
    def test_conninfo_strings_work(self, empty_database_url: str) -> None:
        conninfo = make_conninfo(empty_database_url, application_name="migrator")
        assert "://" not in conninfo
        schema.upgrade(conninfo)
        assert schema.current(empty_database_url) == schema.head()

    def test_the_driver_that_sqlalchemy_reads_from_a_url_is_ignored(self, empty_database_url: str) -> None:
        url = empty_database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        schema.upgrade(url)
        assert schema.current(url) == schema.head()

    @pytest.mark.parametrize(
        "url", ["mysql://localhost/app", "nonsense", "postgresql://localhost/app?colour=red"]
    )
    def test_something_else_is_refused_with_the_forms_that_work(self, url: str) -> None:
        with pytest.raises(BrokerNotConfigured, match="expected postgresql://"):
            schema.upgrade(url)


class TestTogether:
    @pytest.mark.slow
    def test_two_migrators_at_once_do_not_collide(self, empty_database_url: str) -> None:
        # Alembic's environment is the process's own, so two at once are two programs.
        command = [
            sys.executable,
            "-c",
            "import sys; from pgqueue import schema; schema.upgrade(sys.argv[1])",
        ]

        def migrate(_number: int) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*command, empty_database_url], check=False, capture_output=True, text=True, cwd=ROOT
            )

        with ThreadPoolExecutor(3) as threads:
            outcomes = list(threads.map(migrate, range(3)))
        assert [outcome.stderr for outcome in outcomes if outcome.returncode] == []
        assert schema.current(empty_database_url) == schema.head()

    @pytest.mark.slow
    def test_a_busy_table_delays_a_migration_but_does_not_fail_it(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []
        with psycopg.connect(database_url) as connection:
            connection.execute("LOCK TABLE pgqueue.rate_limits IN ACCESS SHARE MODE")

            def let_go(seconds: float) -> None:
                pauses.append(seconds)
                connection.rollback()

            monkeypatch.setattr(schema, "pause", let_go)
            schema.downgrade(database_url, revision="pgqueue_0001")
        assert len(pauses) == 1
        assert schema.current(database_url) == "pgqueue_0001"


class TestSqlText:
    @pytest.mark.parametrize("name", ["pgqueue", 'we"ird Näme', "100%"])
    def test_psql_makes_of_the_text_what_upgrade_makes(
        self, databases: Databases, empty_database_url: str, name: str
    ) -> None:
        run_psql(empty_database_url, schema.as_sql(name))
        other = databases.create(migrated=False)
        try:
            schema.upgrade(other, name)
            assert objects(empty_database_url, name) == objects(other, name)
        finally:
            databases.drop(other)
        assert schema.current(empty_database_url, name) == schema.head()

    def test_the_text_down_undoes_the_text_up(self, empty_database_url: str) -> None:
        run_psql(empty_database_url, schema.as_sql())
        run_psql(empty_database_url, schema.downgrade_as_sql())
        assert schema.current(empty_database_url) is None
        schema.upgrade(empty_database_url)
        assert schema.current(empty_database_url) == schema.head()

    def test_the_text_of_one_step_does_not_begin_at_the_beginning(self, empty_database_url: str) -> None:
        run_psql(empty_database_url, schema.as_sql(revision="pgqueue_0001"))
        text = schema.as_sql(since="pgqueue_0001")
        assert "CREATE SCHEMA" not in text
        run_psql(empty_database_url, text)
        assert schema.current(empty_database_url) == schema.head()


class TestHostApplications:
    def test_autogenerate_of_another_program_does_not_see_us(self, database_url: str) -> None:
        engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
        with engine.connect() as connection:
            script = produce_migrations(MigrationContext.configure(connection), MetaData())
        engine.dispose()
        assert script.upgrade_ops is not None
        assert script.upgrade_ops.is_empty()

    @pytest.mark.slow
    def test_alembic_works_from_a_checkout(self, empty_database_url: str) -> None:
        outcome = subprocess.run(
            [sys.executable, "-m", "alembic", "-x", f"url={empty_database_url}", "upgrade", "head"],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert outcome.returncode == 0, outcome.stderr
        assert schema.current(empty_database_url) == schema.head()

    @pytest.mark.slow
    @pytest.mark.parametrize("url", ["postgresql://me:pa/x?s3cr3t@host/db", "host=h password='a s3cr3t"])
    def test_alembic_tells_nothing_of_a_url_that_it_can_not_read(self, url: str) -> None:
        outcome = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PGQUEUE_URL": url},
        )
        assert outcome.returncode == 1
        assert "can't be read" in outcome.stderr
        assert "s3cr3t" not in outcome.stdout + outcome.stderr
