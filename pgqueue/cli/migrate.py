"""``pgqueue migrate``: create the schema or bring it up to date, print it and the grants as SQL, or check it."""

import argparse

from .. import schema
from ..errors import PgQueueError
from ..storage.database import Database, translated
from ..storage.revision import check_revision
from ..storage.roles import grants
from ..storage.urls import redacted
from .target import add_target_arguments, running, target_schema, target_url

__all__ = ["add_arguments", "run"]

#: The end of what ``--sql`` prints, when there are no grants in it.
NO_GRANTS = """\
-- What other roles than the owner's need is not in here: `pgqueue migrate --grants` prints it, and
-- `pgqueue migrate --sql --grants` both."""

#: Exit code of ``--check`` when the schema needs a migration.
EXIT_OUTDATED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_target_arguments(parser)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--sql", action="store_true", help="print the SQL instead of running it; needs no database"
    )
    mode.add_argument(
        "--check",
        action="store_true",
        help="only say whether the schema is up to date (exit code 0 or 1; 2 if it needs a newer release)",
    )
    parser.add_argument(
        "--grants",
        nargs="?",
        const="app",
        metavar="PREFIX",
        help="print what the roles of producers, workers, operators and readers need, for psql; "
        "their names begin with PREFIX_ (default: app); with --sql after the schema's own SQL",
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument(
        "--revision", metavar="REV", default="head", help="where to go up to (default: the newest)"
    )
    direction.add_argument(
        "--down",
        metavar="REV",
        help="go back to this revision; `base` drops all tables and the messages in them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    name = target_schema(arguments)
    if arguments.sql or arguments.grants is not None:
        print(_printed(arguments, name))
        return 0
    with running(target_url(arguments)) as url, translated(Database(url)):
        if arguments.check:
            return _check(url, name)
        _migrate(arguments, url, name)
    return 0


def _printed(arguments: argparse.Namespace, name: str) -> str:
    """The schema's SQL, what other roles need, or both."""
    if arguments.grants is None:
        return _sql(arguments, name) + ("" if arguments.down else f"\n\n{NO_GRANTS}")
    if arguments.check or arguments.down is not None or arguments.revision != "head":
        raise PgQueueError("--grants is for the newest revision: leave --check, --revision and --down out.")
    needed = grants(name, arguments.grants).rstrip("\n")
    return f"{_sql(arguments, name)}\n\n{needed}" if arguments.sql else needed


def _sql(arguments: argparse.Namespace, name: str) -> str:
    if arguments.down is not None:
        return schema.downgrade_as_sql(name, arguments.down).strip()
    return schema.as_sql(name, arguments.revision).strip()


def _migrate(arguments: argparse.Namespace, url: str, name: str) -> None:
    before = schema.current(url, name)
    if arguments.down is None and arguments.revision == "head" and _is_newer(before):
        # As --check says: a release that is rolled back goes on with the newer schema.
        print(_nothing_to_do(before, _place(url, name)))
        return
    if arguments.down is not None:
        schema.downgrade(url, name, arguments.down)
    else:
        schema.upgrade(url, name, arguments.revision)
    after = schema.current(url, name)
    where = _place(url, name)
    if before == after:
        print(f"{where} is at {_revision(after)} already.")
    else:
        print(f"{where} is now at {_revision(after)} (it was at {_revision(before)}).")


def _check(url: str, name: str) -> int:
    found, newest, where = schema.current(url, name), schema.head(), _place(url, name)
    if found == newest:
        print(f"{where} is up to date ({newest}).")
        return 0
    if _is_newer(found):
        print(_nothing_to_do(found, where))
        return 0
    print(f"{where} is at {_revision(found)}, but this release needs {newest}: run `pgqueue migrate`.")
    return EXIT_OUTDATED


def _is_newer(found: str | None) -> bool:
    if found is None or schema.is_known(found):
        return False
    check_revision(found)
    return True


def _nothing_to_do(found: str | None, where: str) -> str:
    return f"{where} is at {found}, which is newer than this release's {schema.head()}; nothing to migrate."


def _place(url: str, name: str) -> str:
    return f"Schema '{name}' in {redacted(url)}"


def _revision(revision: str | None) -> str:
    return revision or "no revision"
