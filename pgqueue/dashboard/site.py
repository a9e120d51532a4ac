"""What all requests to one dashboard share: its settings, its templates, and what it has seen of the queues."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from ..storage.revision import check_revision, current_revision
from . import drawing, words
from .history import History
from .settings import Settings

__all__ = ["Site"]

#: For how many seconds a schema that this release works on is not looked at again.
FIT_S = 60.0

_TEMPLATES = Path(__file__).parent / "templates"


class Site:
    """One dashboard."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = settings.database
        self.history = History(settings.database)
        self._fit_until = 0.0
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {**words.FILTERS, **drawing.FILTERS}
        self._templates.globals["version"] = __version__

    def render(self, template: str, context: dict[str, Any]) -> str:
        """Fill a template in."""
        return self._templates.get_template(template).render(context)

    def check_schema(self) -> None:
        """See whether this release works on the database's schema, now and then.

        Raises:
          SchemaOutdated: ``pgqueue migrate`` has to be run first.
          ReleaseOutdated: The schema has gone too far for this release.
        """
        if time.monotonic() < self._fit_until:
            return
        with self.database.bounded() as conn:
            found = current_revision(conn, self.database.statements)
        check_revision(found)
        self._fit_until = time.monotonic() + FIT_S
