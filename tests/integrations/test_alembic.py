"""Applications with a history of their own in Alembic: beside ours, or with ours in it."""

import subprocess
from pathlib import Path

import psycopg
import pytest

from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.embedded.binaries import Binaries
from pgqueue.errors import PgQueueError, SchemaOutdated
from pgqueue.integrations.sqlalchemy import include_name

from .host import HostApplication

pytestmark = pytest.mark.slow

WITH_SCHEMAS = "dict(target_metadata=metadata, include_schemas=True{more})"
RECORDED = "dict(target_metadata=metadata, on_version_apply=record_version)"


def tables(url: str, name: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [name])
        return {row[0] for row in rows}


def check(url: str) -> None:
    """See whether workers would start."""
    broker = PostgresBroker(url)
    try:
        broker.check()
    finally:
        broker.close()


class TestTwoHistories:
    def test_each_goes_its_own_way(self, tmp_path: Path, empty_database_url: str) -> None:
        host = HostApplication(tmp_path, empty_database_url)
        schema.upgrade(empty_database_url)
        host.alembic("upgrade", "head")
        assert tables(empty_database_url, "public") == {"alembic_version", "orders"}
        host.alembic("check")
        check(empty_database_url)
        host.alembic("downgrade", "base")
        assert schema.current(empty_database_url) == schema.head()

    def test_autogenerate_that_looks_into_all_schemas_leaves_ours_alone(
        self, tmp_path: Path, database_url: str
    ) -> None:
        host = HostApplication(
            tmp_path, database_url, configure=WITH_SCHEMAS.format(more=", include_name=include_name")
        )
        host.alembic("upgrade", "head")
        assert "No new upgrade operations" in host.alembic("check")

    def test_without_the_filter_it_would_drop_our_tables(self, tmp_path: Path, database_url: str) -> None:
        """Why the filter is there: if this fails, it isn't needed any more."""
        host = HostApplication(tmp_path, database_url, configure=WITH_SCHEMAS.format(more=""))
        host.alembic("upgrade", "head")
        code, output = host.run("check")
        assert code != 0
        assert "remove_table" in output

    @pytest.mark.parametrize(
        ("name", "kind", "parents", "wanted"),
        [
            ("pgqueue", "schema", {}, False),
            ("public", "schema", {}, True),
            (None, "schema", {}, True),
            ("messages", "table", {"schema_name": "pgqueue"}, False),
            ("messages", "table", {"schema_name": None}, True),
            ("pgqueue", "table", {"schema_name": None}, True),
            ("id", "column", {"schema_name": "pgqueue", "table_name": "messages"}, False),
        ],
    )
    def test_only_our_schema_is_left_out(
        self, name: str | None, kind: str, parents: dict[str, str | None], wanted: bool
    ) -> None:
        assert include_name(name, kind, parents) is wanted

    def test_the_schema_may_be_another_one(self) -> None:
        assert not include_name("jobs", "schema", {}, schema="jobs")
        assert include_name("pgqueue", "schema", {}, schema="jobs")


class TestOneHistory:
    @pytest.mark.parametrize(
        "depends_on", [None, pytest.param("pgqueue_0001", marks=pytest.mark.long), schema.head()]
    )
    def test_workers_start_on_what_it_makes(
        self, tmp_path: Path, empty_database_url: str, depends_on: str | None
    ) -> None:
        host = HostApplication(
            tmp_path, empty_database_url, configure=RECORDED, depends_on=depends_on, shared=True
        )
        host.alembic("upgrade", "heads")
        assert "orders" in tables(empty_database_url, "public")
        assert schema.current(empty_database_url) == schema.head()
        check(empty_database_url)
        host.alembic("check")

    def test_the_revision_is_recorded_on_the_way_down_and_up_again(
        self, tmp_path: Path, empty_database_url: str
    ) -> None:
        host = HostApplication(tmp_path, empty_database_url, configure=RECORDED, shared=True)
        host.alembic("upgrade", "heads")
        host.alembic("downgrade", "pgqueue@pgqueue_0001")
        assert schema.current(empty_database_url) == "pgqueue_0001"
        with pytest.raises(SchemaOutdated, match="pgqueue_0001"):
            check(empty_database_url)
        host.alembic("downgrade", "pgqueue@base")
        assert schema.current(empty_database_url) is None
        assert tables(empty_database_url, "pgqueue") == {"alembic_version"}
        assert "orders" in tables(empty_database_url, "public")
        host.alembic("upgrade", "heads")
        check(empty_database_url)

    def test_the_sql_text_records_it_too(self, tmp_path: Path, empty_database_url: str) -> None:
        host = HostApplication(tmp_path, empty_database_url, configure=RECORDED, shared=True)
        text = host.alembic("upgrade", "pgqueue@head", "--sql")
        script = "\n".join(line for line in text.splitlines() if not line.startswith("INFO "))
        psql = [Binaries.find().program("psql"), "-qX", "-v", "ON_ERROR_STOP=1", empty_database_url]
        subprocess.run(psql, input=script, text=True, check=True, capture_output=True)
        check(empty_database_url)

    def test_a_history_that_records_nothing_is_told_apart_from_no_tables(
        self, tmp_path: Path, empty_database_url: str
    ) -> None:
        host = HostApplication(tmp_path, empty_database_url, shared=True)
        host.alembic("upgrade", "heads")
        with pytest.raises(PgQueueError, match=r"on_version_apply=record_version"):
            schema.upgrade(empty_database_url)
        schema.stamp(empty_database_url)
        check(empty_database_url)
