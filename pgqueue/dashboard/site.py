"""What all requests to one dashboard share: its settings, its templates, and what it has seen of the queues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from . import drawing, words
from .history import History
from .settings import Settings

__all__ = ["Site"]

_TEMPLATES = Path(__file__).parent / "templates"


class Site:
    """One dashboard."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = settings.database
        self.history = History(settings.database)
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
