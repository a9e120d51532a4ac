"""Each revision on a queue in use, beside a reader that would hold it up: who comes behind the migration goes on."""

import re
import threading
import time
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
from alembic.script import ScriptDirectory

from pgqueue import schema
from tests.support.eventually import eventually

#: What senders and claims do to the tables, in the form that all revisions know.
WRITE = """
WITH message AS (
    INSERT INTO pgqueue.messages (id, xid, enqueued_at, message_id, lane, slot, attempts, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), pg_current_xact_id()::text::bigint, now(), gen_random_uuid(), 1, last_value, 0,
        'nobody', ''
    FROM pgqueue.open_slot
    RETURNING xid, id, lane, slot
)
INSERT INTO pgqueue.ready (xid, id, lane, slot) SELECT xid, id, lane, slot FROM message
"""
TAKE = "DELETE FROM pgqueue.ready WHERE id IN (SELECT id FROM pgqueue.ready LIMIT 1 FOR UPDATE SKIP LOCKED)"

TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'pgqueue'::regnamespace AND relkind IN ('r', 'p')
"""

#: How often a migration runs into the reader before that ends.
MEETINGS = 3


class Traffic:
    """Writes and takes messages, each in a transaction, until it is left.

    Attributes:
      transactions: How many have been committed.
      longest_s: How long the longest of them took.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.transactions = 0
        self.longest_s = 0.0
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            with psycopg.connect(self._url) as conn:
                while not self._stopping.is_set():
                    began = time.monotonic()
                    conn.execute(WRITE)
                    conn.execute(TAKE)
                    conn.commit()
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                    self.transactions += 1
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.error = error

    def goes_on(self) -> None:
        """Wait until it has committed a few more."""
        before = self.transactions

        def look() -> None:
            assert self.error is None
            assert self.transactions > before + 3

        eventually(look, within_s=20.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        assert self.error is None, self.error


def revisions() -> list[str]:
    """All of them, the oldest first."""
    return [script.revision for script in ScriptDirectory(str(schema.script_location())).walk_revisions()][
        ::-1
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_revision_on_a_queue_in_use(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader holds it up three times: it lets go, the traffic goes on, and it comes again."""
    first, *later = revisions()
    schema.upgrade(empty_database_url, revision=first)
    met = {}
    with psycopg.connect(empty_database_url) as reader, Traffic(empty_database_url) as traffic:
        for revision in later:
            met[revision] = migrate(empty_database_url, revision, reader, traffic, monkeypatch)
        assert schema.current(empty_database_url) == schema.head()
        traffic.goes_on()
    print(f"{met}; the longest transaction beside them took {traffic.longest_s * 1000:.0f} ms")
    # Some make tables of their own and wait for nobody.
    assert max(met.values()) >= MEETINGS


def migrate(
    url: str,
    revision: str,
    reader: "psycopg.Connection[tuple[Any, ...]]",
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Migrate beside a reader of all tables, which ends at the third meeting; return how many there were."""
    tables = [row[0] for row in reader.execute(TABLES).fetchall()]
    reader.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
    met = 0

    def pause(_seconds: float) -> None:
        nonlocal met
        met += 1
        traffic.goes_on()
        if met == MEETINGS:
            reader.rollback()

    monkeypatch.setattr(schema, "pause", pause)
    schema.upgrade(url, revision=revision)
    reader.rollback()
    return met


def test_no_revision_waits_for_a_lock_longer_than_a_tenth_of_a_second() -> None:
    """Nor does its way back. Who comes behind its request waits as long as that; a test that needs no server."""
    ways = {
        f"{way} {revision}": text
        for way, text_of in (("up", upgrade_of), ("down", downgrade_of))
        for revision in revisions()
        for text in [text_of(revision)]
    }
    for name, text in ways.items():
        first = re.search(
            r"^\s*(ALTER|DROP|CREATE (?!SCHEMA|TABLE)|LOCK|UPDATE|INSERT|DELETE|WITH)\b", text, re.MULTILINE
        )
        limits = [
            (found.start(), int(found[1]))
            for found in re.finditer(r"SET LOCAL lock_timeout = '(\d+)ms'", text)
        ]
        assert limits, name
        assert first is None or limits[0][0] < first.start(), name
        assert max(limit for _, limit in limits) <= 100, name
        assert text.count("lock_timeout") == len(limits), name


def upgrade_of(revision: str) -> str:
    """The SQL of one step, without what comes before the revision itself."""
    before = ScriptDirectory(str(schema.script_location())).get_revision(revision).down_revision
    return schema.as_sql(revision=revision, since=str(before or "base"), bare=True).partition("-- Running")[2]


def downgrade_of(revision: str) -> str:
    """The same for the way back."""
    before = ScriptDirectory(str(schema.script_location())).get_revision(revision).down_revision
    return schema.downgrade_as_sql(revision=str(before or "base"), since=revision, bare=True).partition(
        "-- Running"
    )[2]
