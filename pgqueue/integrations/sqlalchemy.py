"""pgqueue beside an application's own SQLAlchemy and Alembic.

`bind` has messages sent by the commit of the session that the sender works with. For the ``env.py`` of an application
with a history of its own, `include_name` keeps autogenerate away from our tables, `record_version` lets our revisions
be part of that history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table
from sqlalchemy.schema import CreateTable

from ._sessions import bind

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, MigrationInfo

__all__ = ["bind", "include_name", "record_version"]

#: How the names of our revisions begin; those of an application don't.
REVISION_PREFIX = "pgqueue_"


def include_name(
    name: str | None, type_: str, parent_names: Mapping[str, str | None], *, schema: str = "pgqueue"
) -> bool:
    """Tell Alembic's autogenerate to leave our schema alone: ``context.configure(include_name=include_name, …)``.

    Only needed with ``include_schemas=True``; without it Alembic doesn't look into our schema. An application that
    has a filter of its own asks both.

    Parameters:
      schema: Where pgqueue's tables are; another one by ``functools.partial(include_name, schema="jobs")``.
    """
    return (name if type_ == "schema" else parent_names.get("schema_name")) != schema


def record_version(*, ctx: MigrationContext, step: MigrationInfo, **_others: object) -> None:
    """Note in our schema which of our revisions an application's history has run, where workers look for it.

    For ``context.configure(on_version_apply=record_version, …)``, if ``version_locations`` names our revisions.
    """
    ours = {name for name in step.up_revision_ids if name.startswith(REVISION_PREFIX)}
    if not ours:
        return
    reached = step.up_revision_ids if step.is_upgrade else step.down_revision_ids
    versions = _version_table(_schema_of(ctx))
    ctx.execute(CreateTable(versions, if_not_exists=True))
    ctx.execute(versions.delete())
    for name in reached:
        if name.startswith(REVISION_PREFIX):
            ctx.execute(versions.insert().values(version_num=name))


def _schema_of(ctx: MigrationContext) -> str:
    config = ctx.config
    return str(config.attributes.get("schema", "pgqueue")) if config is not None else "pgqueue"


def _version_table(schema: str) -> Table:
    """Alembic's own table, as ``pgqueue migrate`` has it."""
    return Table(
        "alembic_version", MetaData(schema=schema), Column("version_num", String(32), primary_key=True)
    )
