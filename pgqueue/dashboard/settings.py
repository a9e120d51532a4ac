"""Who may do what in a dashboard, and what it hides."""

from __future__ import annotations

import secrets
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ..errors import BadSetting
from ..storage.database import Database

if TYPE_CHECKING:
    from starlette.requests import Request

#: The most connections of a dashboard.
MAX_CONNECTIONS = 4

#: Names under which a dashboard without a password may be asked for: a page elsewhere can't point its own at us.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Role(StrEnum):
    """What somebody may do: look at everything, or act as well."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Settings:
    """A dashboard's.

    Attributes:
      password: That of operators.
      viewer_password: That of viewers.
      role_of: Asked who somebody is; None from it: nobody who may come in.
      read_only: Everybody is a viewer at most.
      redacted: Patterns of actors' names whose arguments, results and errors nobody sees.
      hosts: Names in the Host header that are answered; None: all.
      actors: The actors of the program, which may have the option ``redact``.
    """

    database: Database
    password: str | None = field(default=None, repr=False)
    viewer_password: str | None = field(default=None, repr=False)
    role_of: Callable[[Request], Role | str | None] | None = None
    read_only: bool = False
    redacted: Collection[str] = ()
    hosts: Collection[str] | None = None
    actors: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, given in (("password", self.password), ("viewer_password", self.viewer_password)):
            if given is not None and not given.strip():
                raise BadSetting(
                    f"The dashboard's {name} is blank, so that anybody could come in without one. Give it a real one, "
                    "or None: then there is no such password."
                )

    @property
    def has_password(self) -> bool:
        """Whether a browser has to ask for one."""
        return self.password is not None or self.viewer_password is not None

    def role(self, request: Request) -> Role | None:
        """What the sender of a request may do; None: nothing at all."""
        role = self._role(request)
        return Role.VIEWER if role is not None and self.read_only else role

    def _role(self, request: Request) -> Role | None:
        if self.role_of is not None:
            role = self.role_of(request)
            return None if role is None else Role(role)
        if not self.has_password:
            return Role.OPERATOR
        given = _password_of(request.headers.get("authorization", ""))
        if _same(given, self.password):
            return Role.OPERATOR
        return Role.VIEWER if _same(given, self.viewer_password) else None

    @property
    def hides_anything(self) -> bool:
        """Whether there is an actor whose messages nobody may see into."""
        return bool(self.redacted) or any(actor.options.get("redact") for actor in self.actors.values())

    def hides(self, actor_name: str) -> bool:
        """Whether nobody may see what is in an actor's messages."""
        actor = self.actors.get(actor_name)
        if actor is not None and actor.options.get("redact"):
            return True
        return any(fnmatchcase(actor_name, pattern) for pattern in self.redacted)


def _password_of(authorization: str) -> str | None:
    """The password of HTTP's basic scheme; the user's name does not matter."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        return None
    return password if colon else None


def _same(given: str | None, expected: str | None) -> bool:
    if given is None or expected is None:
        return False
    return secrets.compare_digest(given.encode(), expected.encode())
