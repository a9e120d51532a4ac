"""Registers: sequences used as cells that everybody sees at once and that leave no dead rows."""

from collections.abc import Iterable, Sequence
from zlib import crc32

from ..common import quoted
from .calls import Call, run
from .database import Connection
from .messages import Registers
from .snapshot import Snapshot
from .statements import Statements

#: As many idle registers as revision 0001 makes.
IDLE_REGISTERS = 16

#: How long, in ms, an idle worker's word holds; and how old it is when one who asks gives it again. He asks once
#: a second or more, so that word which he found young enough, and left, still holds when he asks the next time.
IDLE_MS = 1_500
RENEW_MS = 300

#: Characters of a channel's name, and of any other, in PostgreSQL.
LONGEST_CHANNEL = 63


def idle_register(queue_name: str, *, schema: str) -> str:
    """The cell in which idle workers of a queue leave word."""
    return f"{quoted(schema)}.idle_{idle_cell(queue_name)}"


def idle_cell(queue_name: str) -> int:
    """The number of that cell."""
    return crc32(queue_name.encode()) % IDLE_REGISTERS


def called_cell(payload: str) -> int | None:
    """The cell whose workers a notification calls; None if it calls all, as those of earlier releases do."""
    name, _, number = payload.partition("_")
    return int(number) if name == "idle" and number.isdecimal() else None


def channel(schema: str) -> str:
    """The channel on which workers are told that something may be ready; the payload is a register's name, or none."""
    name = f"{schema}:ready"
    if len(name) <= LONGEST_CHANNEL:
        return name
    return f"{schema[:48]}:{crc32(schema.encode()):08x}:ready"


def read(conn: Connection, statements: Statements, *, idle: Sequence[str] = ()) -> tuple[Snapshot, Registers]:
    """Read the registers; with ``idle``, leave word in those cells that a worker is idle."""
    parameters = {"idle_registers": list(idle), "idle_ms": IDLE_MS, "renew_ms": RENEW_MS}
    row = conn.execute(statements["registers/read"], parameters).fetchone()
    assert row is not None  # noqa: S101  (sequences have a row)
    return Snapshot.parse(row[0]), Registers(*row[1:5])


def bump_rewind(conn: Connection, statements: Statements) -> None:
    """Tell fetchers that rows came back behind their positions; call it after the commit."""
    conn.execute(statements["registers/bump_rewind"])


def catalog_changed() -> Call:
    """Tells fetchers that lanes or slots have changed; run it after the commit."""
    return Call("registers/bump_catalog")


def bump_catalog(conn: Connection, statements: Statements) -> None:
    """`catalog_changed`, on a connection."""
    run(conn, statements, catalog_changed())


def wake(conn: Connection, statements: Statements, *, queue_names: Iterable[str] = ()) -> None:
    """Tell workers that something may be ready: those of some queues, by their idle registers, or all."""
    payloads = sorted({f"idle_{idle_cell(name)}" for name in queue_names}) or [""]
    parameters = {"channel": channel(statements.schema), "payloads": payloads}
    conn.execute(statements["registers/wake"], parameters)
