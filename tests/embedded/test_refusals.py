"""What keeps a bundled server from starting, each with the object's name and the way out."""

import importlib.util
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgqueue import embedded
from pgqueue.embedded import binaries
from pgqueue.embedded.account import Account
from pgqueue.embedded.binaries import Binaries
from pgqueue.errors import EmbeddedServerError, MissingExtra
from tests.support.eventually import eventually

from .support import OrdinaryUser, wait_for_the_end

_START = """
    import sys
    from pgqueue import embedded, errors

    try:
        embedded.start(sys.argv[1])
    except errors.EmbeddedServerError as error:
        print("refused:", error)
"""


def refusal(directory: Path | str) -> str:
    with pytest.raises(EmbeddedServerError) as caught:
        embedded.start(directory, timeout_s=20)
    return str(caught.value)


def test_a_missing_wheel_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra) as caught:
        embedded.start()
    assert "pip install 'pgqueue-engine[embedded]'" in str(caught.value)


def test_data_of_another_version_are_refused_with_both_versions(server_directory: Path) -> None:
    (server_directory / "data" / "PG_VERSION").write_text("15\n")
    message = refusal(server_directory)
    assert "PostgreSQL 15" in message
    assert "PostgreSQL 18" in message
    assert str(server_directory) in message
    assert "embedded:/directory" in message
    assert (server_directory / "data" / "PG_VERSION").read_text() == "15\n"


def test_somebody_elses_data_directory_of_another_version_is_refused_so_too(place: Path) -> None:
    (place / "PG_VERSION").write_text("14\n")
    assert "PostgreSQL 14, and the bundled server is PostgreSQL 18" in refusal(place)


def test_somebody_elses_data_directory_is_left_alone(place: Path) -> None:
    (place / "PG_VERSION").write_text("18\n")
    assert "a server that pgqueue did not make" in refusal(place)


def test_a_directory_with_other_files_is_left_alone(place: Path) -> None:
    (place / "thesis.txt").write_text("mine")
    message = refusal(place)
    assert "is not empty" in message
    assert str(place) in message
    assert [entry.name for entry in place.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_directory_is_refused(place: Path) -> None:
    (place / "file").touch()
    assert str(place / "file") in refusal(place / "file")
    assert str(place / "file" / "below") in refusal(place / "file" / "below")


def test_a_port_in_use_is_refused(server_directory: Path, busy_port: int) -> None:
    message = refusal(f"embedded:{server_directory}?port={busy_port}")
    assert f"Port {busy_port} on 127.0.0.1 is in use" in message
    assert "?port=NUMBER" in message


def test_a_refused_start_leaves_nothing_running_and_can_be_mended(
    server_directory: Path, busy_port: int
) -> None:
    refusal(f"embedded:{server_directory}?port={busy_port}")
    wait_for_the_end(server_directory)
    with embedded.start(server_directory) as server:
        psycopg.connect(server.url).close()


def test_a_setting_that_postgresql_refuses_is_shown_in_its_own_words(server_directory: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="did not start") as caught:
        embedded.start(server_directory, settings={"no_such_setting": "1"})
    assert 'unrecognized configuration parameter "no_such_setting"' in str(caught.value)
    wait_for_the_end(server_directory)


def test_a_temporary_server_that_does_not_start_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(place))
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        embedded.start(temporary=True, durable=False, settings={"no_such_setting": "1"})
    eventually(lambda: _assert(not list(place.iterdir())))


def _assert(fact: bool) -> None:
    assert fact


def test_a_stale_pid_file_is_seen_through(server_directory: Path) -> None:
    # The number of a process that lives and has nothing to do with PostgreSQL: this one.
    (server_directory / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n{server_directory}/data\n")
    with embedded.start(server_directory) as server:
        psycopg.connect(server.url).close()


@pytest.mark.parametrize("content", ["", "not a number\n", "-1\n", "99999999\n"])
def test_a_damaged_pid_file_is_seen_through(server_directory: Path, content: str) -> None:
    (server_directory / "data" / "postmaster.pid").write_text(content)
    with embedded.start(server_directory) as server:
        psycopg.connect(server.url).close()


def test_a_half_made_data_directory_is_made_anew(place: Path) -> None:
    (place / "data.new").mkdir()
    (place / "data.new" / "PG_VERSION").write_text("18\n")
    with embedded.start(place, durable=False) as server:
        psycopg.connect(server.url).close()
    wait_for_the_end(place)


def test_another_users_directory_is_refused(place: Path, ordinary_user: OrdinaryUser) -> None:
    place.chmod(0o777)
    other = place / "server"
    other.mkdir(mode=0o777)
    with ordinary_user.runs(_START, str(other)) as program:
        assert program.wait() == 0, program.output
        expected = f"refused: {other} belongs to user 0, and this program runs as user {ordinary_user.uid}"
        assert expected in program.output


@pytest.mark.parametrize("held", [False, True], ids=["an empty one", "one that has held a server"])
def test_a_directory_that_can_not_be_written_is_refused(
    place: Path, server_directory: Path, ordinary_user: OrdinaryUser, held: bool
) -> None:
    place.chmod(0o755)
    directory = server_directory if held else place / "empty"
    directory.mkdir(exist_ok=True)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, ordinary_user.uid, ordinary_user.uid, follow_symlinks=False)
    directory.chmod(0o500)
    with ordinary_user.runs(_START, str(directory)) as program:
        assert program.wait() == 0, program.output
        assert (
            f"refused: {directory} can't be used for the bundled server: Permission denied" in program.output
        )
        assert "PGQUEUE_URL=embedded:/directory" in program.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")
def test_programs_below_a_closed_directory_are_copied_for_the_server(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "ROOT_DIRECTORY", place / "copies")
    place.chmod(0o755)
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    original = Binaries.find().folder.parents[1]
    for part in (original, original.with_name(f"{original.name}.libs")):
        (closed / part.name).symlink_to(part)
    hidden = Binaries(closed / original.name / "pginstall" / "bin")
    account = Account(65534, 65534)

    usable, version = hidden.usable_by(account)

    assert usable.folder.is_relative_to(place / "copies")
    assert version.startswith("18.")
    assert hidden.usable_by(account)[0] == usable
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])
