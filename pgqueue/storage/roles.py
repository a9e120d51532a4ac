"""What the roles of those who use the queue may do, as SQL for an administrator. Runs nothing."""

import re

from ..common import quoted
from .statements import Statements

#: In this order; the names of the roles are ``app_…`` until told otherwise.
KINDS = ("producer", "caller", "worker", "operator", "reader")


def grants(schema: str = "pgqueue", prefix: str = "app") -> str:
    """The grants for all kinds of roles, each with a comment that says what it may do.

    Parameters:
      prefix: What the names of the roles begin with.
    """
    Statements(schema)  # refuses what can't be one
    return "\n".join(_grants(schema, kind, prefix) for kind in KINDS)


def _grants(schema: str, kind: str, prefix: str) -> str:
    def written(found: re.Match[str]) -> str:
        if found["role"]:
            return _role(f"{prefix}_{found['role']}")
        return named + found[0].removeprefix('"pgqueue"').removeprefix("pgqueue")

    # Our own is as easy to read without quotes; another may be a word of SQL's.
    named = schema if schema == "pgqueue" else quoted(schema)
    # In one go: a schema may be called as a role of ours is.
    names = r'"pgqueue"\.|(?<=SCHEMA )pgqueue\b|\bapp_(?P<role>\w+)'
    return re.sub(names, written, Statements("pgqueue")[f"roles/{kind}"].decode())


def _role(name: str) -> str:
    # No word of SQL's ends with one of the kinds.
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)
