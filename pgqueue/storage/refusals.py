"""What drivers say of a connection or a right that the server refused, with what the user can do about it."""

import psycopg

from ..errors import BrokerError, DiskFull, ServerOutOfMemory

__all__ = ["explained", "first_line", "has_no_slot", "not_written", "right_to_grant"]

#: How psycopg begins to say that a connection could not be made.
_NOT_MADE = (
    "connection failed",
    "connection is bad",
    "failed to resolve",
    "Multiple connection attempts failed",
    "connection timeout",
)

_MOVED = (
    " Somebody has moved pgqueue's register open_slot, which a running worker puts right within seconds. Only workers "
    "need to move it: `pgqueue migrate --grants` takes the right from others."
)

#: By what libpq and the server say in English; in other languages there is the last one.
_WAYS_OUT = (
    (("password",), "Give the right one in the URL, in PGPASSWORD or in ~/.pgpass."),
    (("database", "does not exist"), "Create it with `createdb`, or name another in the URL."),
    (("role", "does not exist"), "Create it with `createuser`, or name another user in the URL."),
    (
        ("out of shared memory",),
        "Its table of locks is full: somebody holds thousands of them, or max_locks_per_transaction is too low.",
    ),
    (("pg_hba.conf",), "Let the server's pg_hba.conf admit this user from here, or ask for SSL as it wants."),
    (("invalid ",), "Mend it in the URL, or in libpq's variable for it (PGPORT, PGSSLMODE)."),
    ((), "Is the server running there, and is the URL right?"),
)


def first_line(error: BaseException) -> str:
    """What an error says, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__


def explained(error: BaseException) -> str:
    """What an error of a connection says; of one that could not be made also what helps."""
    text = first_line(error)
    if not isinstance(error, psycopg.errors.ConnectionTimeout) and not text.startswith(_NOT_MADE):
        return text
    # Of several hosts, each has a line.
    found = str(error)
    return f"{text}. {next(way for words, way in _WAYS_OUT if all(word in found for word in words))}"


def has_no_slot(error: BaseException) -> bool:
    """Whether the register open_slot has led to a slot of the ring that is not there."""
    # Of a row for which there is no partition the server names the table, and no constraint.
    if not isinstance(error, psycopg.errors.CheckViolation):
        return False
    return error.diag.table_name is not None and error.diag.constraint_name is None


def not_written(
    error: psycopg.errors.DiskFull | psycopg.errors.OutOfMemory | psycopg.errors.CheckViolation, where: str
) -> BrokerError:
    """What is told of a server that has run out of something, or has no table for a row.

    Parameters:
      where: The database, for people.
    """
    if isinstance(error, psycopg.errors.CheckViolation):
        moved = _MOVED if has_no_slot(error) else ""
        return BrokerError(f"Nothing of this call was written to {where}: {first_line(error)}.{moved}")
    if isinstance(error, psycopg.errors.DiskFull):
        return DiskFull(
            f"The disk of {where} is full: {first_line(error)}. Nothing of this call was written. Free space there or "
            "make it larger; workers go on by themselves then."
        )
    return ServerOutOfMemory(
        f"The server of {where} has no memory for this: {first_line(error)}. Nothing of this call was written. Shared "
        "memory is that of locks: somebody holds thousands (pg_locks says who), or max_locks_per_transaction is too "
        "low. Workers go on by themselves then."
    )


def right_to_grant(error: BaseException) -> str:
    """What gives a role the right that it was refused."""
    if "for database" in first_line(error):
        return (
            "To make the schema, have the database's owner run `pgqueue migrate`, or "
            "`GRANT CREATE ON DATABASE … TO …` for this role."
        )
    return "Grant it the rights on pgqueue's schema, or use the role that ran `pgqueue migrate`."
