"""Writes ``migrations/schema.sql``: the tables as all revisions leave them, for people to read.

``make schema`` runs it, and a test compares the file with the revisions.
Of the many leaves of a partitioned table, which differ in their number only, it shows the first.
"""

import re
import subprocess

from pgqueue import embedded, schema
from pgqueue.embedded.binaries import Binaries

__all__ = ["SNAPSHOT", "dump", "write"]

SNAPSHOT = schema.script_location() / "schema.sql"

HEADER = """\
-- pgqueue's schema as the revisions in versions/ leave it. Made by `make schema`; don't edit.
-- Leaves of partitioned tables and registers are many and alike: only the first of each is shown.

"""

#: What pg_dump says to psql, to restore into an empty session, or to itself.
NOISE = re.compile(r"^(\\(un)?restrict .*|SET .*|SELECT pg_catalog\.set_config.*|--.*)\n", re.MULTILINE)


def dump(url: str) -> str:
    """Return the schema ``pgqueue`` of a migrated database as SQL text."""
    leaves = [f"--exclude-table=pgqueue.*_{digits}" for digits in ("[1-9]", "[1-9][0-9]")]
    options = ["--schema-only", "--schema=pgqueue", "--no-owner", "--no-privileges", *leaves]
    command = [Binaries.find().program("pg_dump"), *options, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return HEADER + re.sub(r"\n{3,}", "\n\n", NOISE.sub("", text)).strip() + "\n"


def write() -> None:
    """Write the snapshot, from a server made for it."""
    with embedded.start(temporary=True, durable=False) as server:
        schema.upgrade(server.url)
        SNAPSHOT.write_text(dump(server.url))


if __name__ == "__main__":
    write()
