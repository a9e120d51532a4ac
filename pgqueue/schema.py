"""The database schema as a program handles it: upgrade, downgrade, current revision, SQL text.

Finds ``migrations/`` and is the only importer of alembic; workers never import it (0.6 s).
Driver errors leave as psycopg's own; ``storage.database.translated()`` gives them our names.
"""

import io
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from .common import checked_schema
from .errors import PgQueueError
from .logging import own_logger
from .storage.urls import settings_of

__all__ = [
    "as_sql",
    "current",
    "downgrade",
    "downgrade_as_sql",
    "head",
    "is_known",
    "script_location",
    "stamp",
    "upgrade",
]

#: How often a migration is tried when a table it must lock stays busy for the revision's lock_timeout. That is short,
#: for everybody who comes after our request waits as long as it does.
LOCK_ATTEMPTS = 60

#: Seconds between those attempts, so that whoever queued behind our lock request gets through.
LOCK_PAUSE_S = 1.0

#: What is wrong if it is never had.
BUSY = (
    "A table that the migration must lock stayed in use through {attempts} attempts: a transaction that has sent "
    "messages, or a dump, is open. `pgqueue doctor` names the oldest ones; end it, or run the migration again later. "
    "Nothing was changed."
)

#: What is wrong if the first revision finds its tables there.
UNRECORDED = (
    "pgqueue's tables are there, but its schema doesn't say at which revision. If the history of an application has "
    "made them, upgrade with that, and have its env.py call context.configure(on_version_apply=record_version) from "
    "pgqueue.integrations.sqlalchemy; pgqueue.schema.stamp(url) notes for once that they are at {head}."
)

logger = own_logger(__name__)

#: Held by the thread that runs Alembic, whose environment is one for the process.
_alone = threading.RLock()

#: Waits between attempts; a name of this module, so that tests need not wait.
pause = time.sleep


def script_location() -> Path:
    """Return the Alembic environment: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    bundled = package / "migrations"
    return bundled if bundled.is_dir() else package.parent / "migrations"


def upgrade(url: str, schema: str = "pgqueue", revision: str = "head") -> None:
    """Bring a database to a revision, in one transaction; a second migrator waits for the first.

    Parameters:
      url: Any URL or conninfo of libpq, or ``embedded:``.
      schema: Where every object and the version table live; created if it is missing.
    """
    _with_lock_retries(lambda: command.upgrade(_config(url=url, schema=schema), revision), revision)


def downgrade(url: str, schema: str = "pgqueue", revision: str = "base") -> None:
    """Take a database back to a revision; "base" removes all tables and their messages."""
    _with_lock_retries(lambda: command.downgrade(_config(url=url, schema=schema), revision), revision)


def stamp(url: str, schema: str = "pgqueue", revision: str = "head") -> None:
    """Note that a database is at a revision, and run nothing: for tables that came about by other means."""
    with _driver_errors(revision):
        command.stamp(_config(url=url, schema=schema), revision)


def current(url: str, schema: str = "pgqueue") -> str | None:
    """Return the revision that a database is at; None if it was never migrated. Changes nothing."""
    found: list[str] = []

    def look(heads: tuple[str, ...], _context: Any) -> list[Any]:
        found.extend(heads)
        return []

    config = _config(url=url, schema=schema)
    script = ScriptDirectory.from_config(config)
    with _driver_errors(), EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()
    return found[0] if found else None


def head() -> str:
    """Return the newest revision that this release carries."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise LookupError(f"There is no revision in {script_location() / 'versions'}.")
    return newest


def is_known(revision: str) -> bool:
    """Whether this release carries a revision; one that it doesn't carry comes from a newer release."""
    revisions = ScriptDirectory.from_config(_config()).walk_revisions()
    return revision in {script.revision for script in revisions}


def as_sql(
    schema: str = "pgqueue", revision: str = "head", *, since: str = "base", bare: bool = False
) -> str:
    """Return what `upgrade` would do as SQL text for psql, without a database.

    Parameters:
      since: The revision that the database is at already.
      bare: Whether BEGIN and COMMIT are left out, for a transaction of the caller's.
    """
    buffer = io.StringIO()
    with _driver_errors(since, revision):
        config = _config(schema=schema, output_buffer=buffer, bare=bare)
        command.upgrade(config, f"{since}:{revision}", sql=True)
    # A downgrade to the base leaves the version table behind.
    return re.sub(
        r"^(CREATE TABLE) (?=.*\balembic_version \($)",
        r"\1 IF NOT EXISTS ",
        buffer.getvalue(),
        flags=re.MULTILINE,
    )


def downgrade_as_sql(
    schema: str = "pgqueue", revision: str = "base", *, since: str = "head", bare: bool = False
) -> str:
    """Return what `downgrade` would do as SQL text for psql, without a database."""
    buffer = io.StringIO()
    start = head() if since == "head" else since
    with _driver_errors(start, revision):
        config = _config(schema=schema, output_buffer=buffer, bare=bare)
        command.downgrade(config, f"{start}:{revision}", sql=True)
    return buffer.getvalue()


def _config(
    *,
    url: str | None = None,
    schema: str = "pgqueue",
    output_buffer: io.StringIO | None = None,
    bare: bool = False,
) -> Config:
    if url is not None:
        _check_url(url)
    attributes = {"url": url, "schema": checked_schema(schema), "bare": bare}
    config = Config(output_buffer=output_buffer, attributes=attributes)
    # A percent sign in the path would start an interpolation of configparser.
    config.set_main_option("script_location", str(script_location()).replace("%", "%%"))
    return config


def _check_url(url: str) -> None:
    if not url.startswith("embedded:"):
        settings_of(re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", url))


def _check_revisions(revisions: Iterable[str]) -> None:
    """Refuse what Alembic would stumble over, or take for two of them."""
    for revision in revisions:
        if not re.fullmatch(r"\w+|\w*[+-]\d+", revision):
            raise PgQueueError(
                f"{revision!r} is not a revision: expected its name, head, base, or a number of steps such as +1; "
                f"this release's newest revision is {head()}."
            )


def _with_lock_retries(migrate: Callable[[], None], revision: str) -> None:
    """Run a migration; one that ran into its lock_timeout was rolled back whole and is tried again."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with _driver_errors(revision):
                migrate()
        except psycopg.errors.LockNotAvailable as error:
            if attempt == LOCK_ATTEMPTS:
                raise PgQueueError(BUSY.format(attempts=LOCK_ATTEMPTS)) from error
            logger.warning(
                "A table is in use; migration attempt %d of %d follows.", attempt + 1, LOCK_ATTEMPTS
            )
            pause(LOCK_PAUSE_S)
        else:
            return


@contextmanager
def _driver_errors(*revisions: str) -> Iterator[None]:
    """Run Alembic, one thread at a time; say in our words what it refuses, and give the driver's errors unwrapped."""
    _check_revisions(revisions)
    try:
        with _alone:
            yield
    except (CommandError, AssertionError) as error:
        # Alembic asserts that there is something so many steps behind a revision that is named.
        asked = " to ".join(map(repr, revisions))
        raise PgQueueError(
            f"Revision {asked}: {str(error) or 'there is none'}; this release's newest revision is {head()}."
        ) from error
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.DuplicateTable):
            raise PgQueueError(UNRECORDED.format(head=head())) from error
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from error
        raise
