"""Another program's Alembic environment, in a directory of its own."""

from pathlib import Path
from textwrap import indent

from pgqueue import schema
from tests.support.processes import ROOT, Process

__all__ = ["HostApplication"]

ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, create_engine
from sqlalchemy.pool import NullPool
import psycopg
from pgqueue.integrations.sqlalchemy import include_name, record_version

metadata = MetaData()
Table("orders", metadata, Column("id", Integer, primary_key=True), Column("lane", Integer))
config = {configure}

if context.is_offline_mode():
    context.configure(url="postgresql+psycopg://", literal_binds=True, **config)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect({url!r}), poolclass=NullPool
    )
    with engine.connect() as connection:
{online}
        with context.begin_transaction():
            context.run_migrations()
"""

REVISION = """
from alembic import op
revision = "app_1"
down_revision = None
branch_labels = ("app",)
depends_on = {depends_on!r}
def upgrade(): op.execute("CREATE TABLE orders (id serial PRIMARY KEY, lane int)")
def downgrade(): op.execute("DROP TABLE orders")
"""


class HostApplication:
    """A program with one table, ``orders``, and a revision ``app_1`` that makes it.

    Parameters:
      configure: What its ``env.py`` passes to ``context.configure``, as Python text.
      online: How it does so with a connection, as Python statements.
      depends_on: The revision of ours that its own needs.
      shared: Whether our revisions are part of its history.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        configure: str = "dict(target_metadata=metadata)",
        online: str = "context.configure(connection=connection, **config)",
        depends_on: str | None = None,
        shared: bool = False,
    ) -> None:
        self.versions = folder / "versions"
        self.versions.mkdir()
        (folder / "env.py").write_text(
            ENV.format(url=url, configure=configure, online=indent(online, 8 * " "))
        )
        (folder / "script.py.mako").write_text((schema.script_location() / "script.py.mako").read_text())
        (self.versions / "app_1.py").write_text(REVISION.format(depends_on=depends_on))
        locations = [self.versions, *([schema.script_location() / "versions"] if shared else [])]
        self._ini = folder / "alembic.ini"
        self._ini.write_text(
            f"[alembic]\nscript_location = {folder}\npath_separator = newline\nversion_locations =\n"
            + "".join(f"    {location}\n" for location in locations)
        )

    def alembic(self, *words: str) -> str:
        """Run ``alembic words…`` in the program; return what it prints."""
        code, output = self.run(*words)
        assert code == 0, output
        return output

    def run(self, *words: str) -> tuple[int, str]:
        """Run ``alembic words…`` in the program; return exit code and output."""
        with Process(["-m", "alembic", "-c", str(self._ini), *words], cwd=ROOT, warm=True) as process:
            return process.wait(), process.output
