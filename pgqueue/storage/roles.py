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
    statements = Statements(schema)
    return "\n".join(_grants(statements, kind, prefix) for kind in KINDS)


def _grants(statements: Statements, kind: str, prefix: str) -> str:
    text = (
        statements[f"roles/{kind}"]
        .decode()
        .replace(f"{statements.identifier}.", f"{_quoted(statements.schema)}.")
    )
    text = re.sub(r"(?<=SCHEMA )pgqueue\b", lambda _: _quoted(statements.schema), text)
    return re.sub(r"\bapp_(\w+)", lambda role: _quoted(f"{prefix}_{role[1]}"), text)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted(name)
