"""``pgqueue migrate``: sentences and exit codes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import pgqueue
from pgqueue import cli, schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.embedded.binaries import Binaries
from pgqueue.storage.database import REQUIRED_REVISION
from pgqueue.storage.roles import KINDS
from tests.support.postgres import Databases, with_database

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGQUEUE_URL", "DATABASE_URL", "PGQUEUE_SCHEMA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def powerless_role(databases: Databases) -> Iterator[str]:
    role = "pgqueue_powerless"
    with psycopg.connect(databases.url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        yield role
        connection.execute(f"DROP ROLE {role}")


class TestUp:
    def test_it_says_what_it_did(self, empty_database_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--url", empty_database_url]) == 0
        assert f"is now at {REQUIRED_REVISION} (it was at no revision)." in capsys.readouterr().out
        assert cli.main(["migrate", "--url", empty_database_url]) == 0
        assert f"is at {REQUIRED_REVISION} already." in capsys.readouterr().out

    def test_url_and_schema_come_from_the_environment_too(
        self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", empty_database_url)
        monkeypatch.setenv("PGQUEUE_SCHEMA", "jobs")
        assert cli.main(["migrate"]) == 0
        assert schema.current(empty_database_url, "jobs") == REQUIRED_REVISION
        assert schema.current(empty_database_url) is None

    def test_pgqueue_url_comes_before_database_url(
        self, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGQUEUE_URL", empty_database_url)
        monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere.invalid/x")
        assert cli.main(["migrate"]) == 0
        assert schema.current(empty_database_url) == REQUIRED_REVISION

    def test_it_can_stop_at_a_revision_and_go_back(self, empty_database_url: str) -> None:
        target = ["--url", empty_database_url]
        assert cli.main(["migrate", *target, "--revision", "pgqueue_0001"]) == 0
        assert schema.current(empty_database_url) == "pgqueue_0001"
        assert cli.main(["migrate", *target, "--down", "base"]) == 0
        assert schema.current(empty_database_url) is None


class TestCheck:
    def test_up_to_date_is_zero(self, database_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--check", "--url", database_url]) == 0
        assert f"is up to date ({REQUIRED_REVISION})." in capsys.readouterr().out

    def test_missing_or_old_is_one(self, empty_database_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--check", "--url", empty_database_url]) == 1
        schema.upgrade(empty_database_url, revision="pgqueue_0001")
        assert cli.main(["migrate", "--check", "--url", empty_database_url]) == 1
        first, second = capsys.readouterr().out.splitlines()
        assert (
            f"is at no revision, but this release needs {REQUIRED_REVISION}: run `pgqueue migrate`." in first
        )
        assert "is at pgqueue_0001, but" in second

    def test_newer_is_zero_since_there_is_nothing_to_do(self, database_url: str, capsys: Output) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE pgqueue.alembic_version SET version_num = 'pgqueue_9999'")
        assert cli.main(["migrate", "--check", "--url", database_url]) == 0
        assert "pgqueue_9999, which is newer than" in capsys.readouterr().out

    def test_migrating_leaves_a_newer_one_alone_as_well(self, database_url: str, capsys: Output) -> None:
        with psycopg.connect(database_url) as connection:
            connection.execute("UPDATE pgqueue.alembic_version SET version_num = 'pgqueue_9999'")
        assert cli.main(["migrate", "--url", database_url]) == 0
        assert "pgqueue_9999, which is newer than" in capsys.readouterr().out
        assert schema.current(database_url) == "pgqueue_9999"


class TestSql:
    def test_it_needs_no_database_and_psql_runs_it(self, empty_database_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--sql", "--schema", "jobs"]) == 0
        text = capsys.readouterr().out
        psql = [Binaries.find().program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", empty_database_url]
        subprocess.run(psql, input=text, text=True, check=True, capture_output=True)
        assert schema.current(empty_database_url, "jobs") == REQUIRED_REVISION

    def test_down_can_be_printed_as_well(self, capsys: Output) -> None:
        assert cli.main(["migrate", "--sql", "--down", "base"]) == 0
        text = capsys.readouterr().out
        assert "DROP TABLE" in text
        assert "--grants" not in text

    def test_without_grants_it_says_how_to_get_them(self, capsys: Output) -> None:
        assert cli.main(["migrate", "--sql"]) == 0
        text = capsys.readouterr().out
        assert "app_producer" not in text
        *_, first, second = text.splitlines()
        assert (first + second).startswith("-- ")
        assert "`pgqueue migrate --grants`" in first

    @pytest.mark.parametrize("prefix", ["app", "Odd%s"])
    def test_with_grants_it_is_enough_to_send_as_a_producer(
        self, empty_database_url: str, databases: Databases, capsys: Output, prefix: str
    ) -> None:
        words = ["--grants"] if prefix == "app" else ["--grants", prefix]
        assert cli.main(["migrate", "--sql", *words]) == 0
        text = capsys.readouterr().out
        with roles(databases.url, prefix), psycopg.connect(empty_database_url, autocommit=True) as conn:
            conn.execute(text.encode())
            assert schema.current(empty_database_url) == REQUIRED_REVISION
            producer = make_conninfo(empty_database_url, user=f"{prefix}_producer", password="secret")
            broker = PostgresBroker(producer)
            pgqueue.actor(actor_name="note", broker=broker)(lambda: None).send()
            broker.close()
            ((count,),) = conn.execute("SELECT count(*) FROM pgqueue.messages").fetchall()
            assert count == 1
            ((may_truncate,),) = conn.execute(
                "SELECT has_table_privilege(%s, 'pgqueue.messages', 'TRUNCATE')", (f"{prefix}_producer",)
            ).fetchall()
            assert not may_truncate
            for kind in KINDS:
                conn.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(f"{prefix}_{kind}")))

    @pytest.mark.parametrize("more", [["--check"], ["--down", "base"], ["--revision", "pgqueue_0001"]])
    def test_grants_are_for_the_newest_revision_only(self, more: list[str], capsys: Output) -> None:
        assert cli.main(["migrate", "--grants", "app", *more]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.startswith("pgqueue: --grants is for the newest revision")


@contextmanager
def roles(url: str, prefix: str) -> Iterator[None]:
    """All that are granted something, by their names' prefix."""
    names = [sql.Identifier(f"{prefix}_{kind}") for kind in KINDS]
    with psycopg.connect(url, autocommit=True) as conn:
        for name in names:
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'secret'").format(name))
        try:
            yield
        finally:
            for name in names:
                conn.execute(sql.SQL("DROP ROLE {}").format(name))


class TestMistakes:
    def error(self, capsys: Output) -> str:
        text = capsys.readouterr().err
        assert text.startswith("pgqueue: ")
        assert len(text.splitlines()) == 1
        return text

    def test_no_url_says_both_ways_out(self, capsys: Output) -> None:
        assert cli.main(["migrate"]) == 2
        text = self.error(capsys)
        assert "PGQUEUE_URL" in text
        assert "embedded:" in text

    @pytest.mark.parametrize("url", ["mysql://user:secret@host/db", "user:secret"])
    def test_something_that_is_no_url_says_what_would_be(self, url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--url", url]) == 2
        text = self.error(capsys)
        assert "expected postgresql://" in text
        assert "secret" not in text

    def test_an_unreachable_server_is_code_three(self, capsys: Output) -> None:
        assert cli.main(["migrate", "--url", "postgresql://user:secret@127.0.0.1:1/db"]) == 3
        text = self.error(capsys)
        assert "127.0.0.1:1/db" in text
        assert "secret" not in text

    def test_a_database_that_does_not_exist_is_named(self, postgres_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--url", with_database(postgres_url, "nosuchdb")]) == 3
        assert "nosuchdb" in self.error(capsys)

    def test_a_role_that_may_not_is_told_so(
        self, empty_database_url: str, powerless_role: str, capsys: Output
    ) -> None:
        url = make_conninfo(empty_database_url, user=powerless_role, password="secret")
        assert cli.main(["migrate", "--url", url]) == 2
        text = self.error(capsys)
        assert f"permission denied for database {conninfo_to_dict(empty_database_url)['dbname']}" in text

    @pytest.mark.parametrize("mode", [[], ["--sql"]], ids=["run", "sql"])
    @pytest.mark.parametrize("option", ["--revision", "--down"])
    @pytest.mark.parametrize("word", ["", "a:b", "@", " ", "pgqueue_0001+99", "pgqueue_0009-99"])
    def test_what_can_be_no_revision_is_refused_in_one_line(
        self, database_url: str, capsys: Output, mode: list[str], option: str, word: str
    ) -> None:
        assert cli.main(["migrate", "--url", database_url, *mode, option, word]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert word in told
        assert f"newest revision is {REQUIRED_REVISION}" in told

    def test_an_unknown_revision_is_named(self, empty_database_url: str, capsys: Output) -> None:
        assert cli.main(["migrate", "--url", empty_database_url, "--revision", "nosuch"]) == 2
        assert "'nosuch'" in self.error(capsys)
