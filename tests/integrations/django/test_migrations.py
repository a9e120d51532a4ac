"""Django's migrations that apply ours."""

import io
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from pgqueue import schema
from tests.support.postgres import Databases

from .conftest import Program, point

RELATIONS = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'p')"


def relations(url: str, name: str = "pgqueue") -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(RELATIONS, [name]).fetchone()
    assert row is not None
    return int(row[0])


def migrate(*words: str, **options: Any) -> None:
    call_command("migrate", *words, verbosity=0, **options)


class NoQueue:
    """A database router."""

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return app_label != "pgqueue"


@pytest.fixture
def url(empty_database_url: str) -> Iterator[str]:
    """An empty database behind Django's default alias."""
    point("default", empty_database_url)
    yield empty_database_url
    connections.close_all()


class TestMigrate:
    def test_forwards_backwards_and_forwards_again(self, url: str) -> None:
        migrate()
        assert schema.current(url) == schema.head()
        migrate()
        migrate("pgqueue", "zero")
        assert schema.current(url) is None
        assert relations(url) == 1
        migrate("pgqueue")
        assert schema.current(url) == schema.head()

    def test_a_step_back_is_a_revision_back(self, url: str) -> None:
        migrate()
        migrate("pgqueue", "0001")
        assert schema.current(url) == "pgqueue_0003"

    def test_what_the_command_line_has_begun_is_gone_on_with(self, url: str) -> None:
        schema.upgrade(url, revision="pgqueue_0001")
        migrate("pgqueue")
        assert schema.current(url) == schema.head()

    def test_what_the_command_line_has_done_is_not_done_again(self, url: str) -> None:
        schema.upgrade(url)
        migrate("pgqueue")
        assert schema.current(url) == schema.head()

    def test_the_schema_is_the_one_that_the_setting_names(self, url: str) -> None:
        with override_settings(PGQUEUE={"SCHEMA": "jobs"}):
            migrate("pgqueue")
            assert schema.current(url, "jobs") == schema.head()
            assert relations(url) == 0
            migrate("pgqueue", "zero")
            assert schema.current(url, "jobs") is None

    def test_the_sql_is_shown_and_nothing_is_done(self, url: str) -> None:
        shown = io.StringIO()
        call_command("sqlmigrate", "pgqueue", "0001", stdout=shown)
        assert 'CREATE SEQUENCE "pgqueue".message_seq' in shown.getvalue()
        assert shown.getvalue().count("BEGIN;") == 1
        call_command("sqlmigrate", "pgqueue", "0001", backwards=True, stdout=shown)
        assert "DROP TABLE" in shown.getvalue()
        call_command("sqlmigrate", "pgqueue", "0002", stdout=shown)
        assert 'CREATE TABLE "pgqueue".pauses' in shown.getvalue()
        assert relations(url) == 0

    @pytest.mark.usefixtures("url")
    def test_there_is_nothing_for_makemigrations(self) -> None:
        call_command("makemigrations", "pgqueue", check=True, dry_run=True, verbosity=0)

    @pytest.mark.slow
    def test_manage_py_migrates_too(self, program: Program) -> None:
        assert "Bring pgqueue's tables to revision" in program.run("migrate", "--plan")
        program.run("migrate")
        assert schema.current(program.env["SHOP_URL"] or "") == schema.head()


class TestSeveralDatabases:
    @pytest.fixture
    def other(self, databases: Databases, url: str) -> Iterator[str]:
        """A second database, behind the alias that the queue is on."""
        other = databases.create(migrated=False)
        point("other", other)
        with override_settings(PGQUEUE={"DATABASE": "other"}):
            yield other
        connections.close_all()
        databases.drop(other)

    def test_only_the_one_that_the_setting_names_gets_our_tables(self, url: str, other: str) -> None:
        migrate("pgqueue")
        assert relations(url) == 0
        assert relations(other) == 0
        migrate("pgqueue", database="other")
        assert relations(url) == 0
        assert schema.current(other) == schema.head()
        migrate("pgqueue", "zero", database="other")
        assert schema.current(other) is None

    def test_a_router_can_forbid_it(self, other: str) -> None:
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.NoQueue"]):
            migrate("pgqueue", database="other")
        assert relations(other) == 0

    def test_a_queue_at_a_url_is_none_of_djangos_business(self, url: str, other: str) -> None:
        with override_settings(PGQUEUE={"URL": other}):
            migrate("pgqueue")
            migrate("pgqueue", database="other")
        assert relations(url) == relations(other) == 0
