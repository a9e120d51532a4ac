"""The setting ``PGQUEUE``: what may stand in it, and what is meant if it doesn't."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

__all__ = ["Settings", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The setting ``PGQUEUE``; its keys are these names, in capitals as Django's are.

    Parameters:
      database: The alias in ``DATABASES`` of the database that holds the queue.
      url: Another database to hold it, in the place of an alias; nothing is joined and migrated then.
      schema: The schema that holds the tables.
      middleware: Paths of classes or functions, or instances; None for one of each default middleware.
      results: Options of the Results middleware, ``{"store_results": True}`` for example.
      join_atomic: Whether what is sent inside ``atomic()`` is sent by its commit.
      autodiscover: The modules of each installed app that define actors.
      options: Further arguments for PostgresBroker.
    """

    database: str = DEFAULT_DB_ALIAS
    url: str | None = None
    schema: str = "pgqueue"
    middleware: Sequence[Any] | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    join_atomic: bool = True
    autodiscover: Sequence[str] = ("tasks",)
    options: Mapping[str, Any] = field(default_factory=dict)


def read() -> Settings:
    """Return the setting as it is now.

    Raises:
      ImproperlyConfigured: It can't be understood, or contradicts itself.
    """
    given = getattr(settings, "PGQUEUE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"PGQUEUE must be a dictionary, not {given!r}.")
    known = {item.name.upper(): item.name for item in fields(Settings)}
    values = {_known(key, known): value for key, value in given.items()}
    if values.get("url") is not None and "database" in values:
        raise ImproperlyConfigured(
            "PGQUEUE has both a DATABASE and a URL: give the alias of the database that holds the queue, or the URL of "
            "one that is not in DATABASES."
        )
    found = Settings(**values)
    if found.url is None and found.database not in settings.DATABASES:
        raise ImproperlyConfigured(
            f"PGQUEUE says that the queue is in the database '{found.database}', but DATABASES has only "
            f"{', '.join(map(repr, settings.DATABASES))}."
        )
    return found


def _known(key: object, known: Mapping[str, str]) -> str:
    name = str(key).upper()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean '{close[0]}'?" if close else f"It may have {', '.join(sorted(known))}."
    raise ImproperlyConfigured(f"PGQUEUE knows no {key!r}. {hint}")
