"""What drivers raise when a message can't be written, as far as pgqueue can say more about it than they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import PermissionDenied, SchemaOutdated, TargetFailed, TransactionError
from ..storage.database import REQUIRED_REVISION
from ..storage.refusals import first_line

#: Of PostgreSQL's manual, appendix A: undefined table, column, schema, function.
_MISSING = frozenset({"42P01", "42703", "3F000", "42883"})
_FAILED = "25P02"
_READ_ONLY = "25006"
_DENIED = "42501"


@contextmanager
def explained(connection: object) -> Iterator[None]:
    """Raise our errors for those of a driver that have to do with the queue; others are the application's to handle.

    So it sees deadlocks, serialization failures and lost connections as from any statement of its own.
    """
    try:
        yield
    except Exception as error:
        sqlstate = sqlstate_of(error)
        if sqlstate == _FAILED:
            raise TargetFailed(connection) from error
        if sqlstate == _READ_ONLY:
            raise TransactionError(
                f"Nothing can be sent through {type(connection).__name__}: its transaction is read only. Begin one "
                "that may write (READ WRITE), on the primary, or send without pgqueue.transaction()."
            ) from error
        if sqlstate in _MISSING:
            raise SchemaOutdated(found=None, required=REQUIRED_REVISION, missing=first_line(error)) from error
        if sqlstate == _DENIED:
            raise PermissionDenied(
                f"The database role may not do this: {str(error).splitlines()[0]}. Grant it the rights on pgqueue's "
                "schema that docs/deploying.md lists for producers."
            ) from error
        raise


def sqlstate_of(error: BaseException | None) -> str | None:
    """The SQLSTATE of a driver's error, also inside that of SQLAlchemy or Django; None if there is none."""
    seen = 0
    while error is not None and seen < 5:
        found: Any = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if found is None and error.args and isinstance(error.args[0], dict):
            found = error.args[0].get("C")  # pg8000
        if isinstance(found, str):
            return found
        error = getattr(error, "orig", None) or error.__cause__
        seen += 1
    return None
