"""What our Django migrations do: run the revisions of `pgqueue.schema` on a connection of Django's."""

from __future__ import annotations

from typing import Any

from django.db import router
from django.db.migrations.operations.base import Operation

from ...storage.revision import find_revision
from ...storage.statements import Statements
from ...transactions._django import DjangoTarget
from .._inline import perform_on
from .conf import Settings, read

__all__ = ["UpgradeSchema"]


class UpgradeSchema(Operation):
    """Brings the tables to a revision, in the database that ``PGQUEUE`` names; elsewhere it does nothing.

    What ``pgqueue migrate`` has done already is not done again, and the other way round.

    Parameters:
      revision: The one to reach.
      previous: The one before, which ``migrate pgqueue <earlier>`` goes back to.
    """

    reversible = True

    def __init__(self, revision: str, previous: str = "base") -> None:
        self.revision = revision
        self.previous = previous

    def state_forwards(self, app_label: str, state: Any) -> None:
        """There are no models."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Run the revisions that are missing."""
        settings = read()
        if not _concerns(app_label, schema_editor, settings):
            return
        found = self.previous if schema_editor.collect_sql else _found(schema_editor, settings)
        if found == "base" or found < self.revision:
            # Imported here, because every `manage.py` command that looks at migrations imports this module.
            from ...schema import as_sql  # noqa: PLC0415

            schema_editor.execute(as_sql(settings.schema, self.revision, since=found, bare=True), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Take the revisions back; the first one takes the tables and all messages with it."""
        settings = read()
        if not _concerns(app_label, schema_editor, settings):
            return
        found = self.revision if schema_editor.collect_sql else _found(schema_editor, settings)
        if found != "base" and (self.previous == "base" or found > self.previous):
            from ...schema import downgrade_as_sql  # noqa: PLC0415  # as above

            text = downgrade_as_sql(settings.schema, self.previous, since=found, bare=True)
            schema_editor.execute(text, params=None)

    def describe(self) -> str:
        """Say what it does, for ``migrate --plan``."""
        return f"Bring pgqueue's tables to revision {self.revision}"

    @property
    def migration_name_fragment(self) -> str:
        """How a migration with it is called."""
        return self.revision


def _concerns(app_label: str, schema_editor: Any, settings: Settings) -> bool:
    alias = schema_editor.connection.alias
    return settings.url is None and alias == settings.database and router.allow_migrate(alias, app_label)


def _found(schema_editor: Any, settings: Settings) -> str:
    """The revision that the tables are at; "base" if there are none."""
    statements = Statements(settings.schema)
    target = DjangoTarget(schema_editor.connection)
    return perform_on(target, statements, find_revision(settings.schema)) or "base"
