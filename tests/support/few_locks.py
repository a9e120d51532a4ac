"""A server with room for few locks."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pgqueue import embedded, schema

from .postgres import quick_directory

__all__ = ["server_with_few_locks"]


@contextmanager
def server_with_few_locks(*, max_connections: int) -> Iterator[str]:
    """A migrated server of the test's own that has some hundred locks in all; yields its URL."""
    directory = tempfile.mkdtemp(prefix="pgqueue-few-locks-", dir=quick_directory())
    settings = {
        "max_connections": str(max_connections), "max_locks_per_transaction": "10", "max_prepared_transactions": "4",
    }  # fmt: skip
    try:
        with embedded.start(f"{directory}/data", temporary=True, durable=False, settings=settings) as server:
            schema.upgrade(server.url)
            yield server.url
    finally:
        shutil.rmtree(directory, ignore_errors=True)
