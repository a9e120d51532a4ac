"""What the owner of a server's directory, or whoever may write there, can plant; nobody is led astray by it."""

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgqueue import embedded
from pgqueue.embedded.account import Account
from pgqueue.embedded.locks import FileLock
from pgqueue.errors import EmbeddedServerError
from tests.support.eventually import eventually

from .support import keeper_of, postmaster_of, wait_for_the_end

for_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a server as somebody else")

PRECIOUS = "root's own words\n"


@pytest.fixture
def precious(place: Path) -> Path:
    """A directory of root's with a file in it, on the same disk as the server."""
    directory = place / "precious"
    directory.mkdir(mode=0o700)
    (directory / "file").write_text(PRECIOUS)
    (directory / "file").chmod(0o600)
    return directory


def state_of(directory: Path) -> dict[str, tuple[int, int, str]]:
    """What a directory holds, and whose it is."""
    return {
        path.name: (path.stat().st_uid, path.stat().st_mode, path.read_text() if path.is_file() else "")
        for path in [directory, *directory.iterdir()]
    }


def in_the_place_of(path: Path) -> Path:
    """Remove what lies there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return path


def link(path: Path, precious: Path) -> None:
    in_the_place_of(path).symlink_to(precious / "file")


def dangling_link(path: Path, precious: Path) -> None:
    in_the_place_of(path).symlink_to(precious / "new")


def hard_link(path: Path, precious: Path) -> None:
    os.link(precious / "file", in_the_place_of(path))


def pipe(path: Path, precious: Path) -> None:
    os.mkfifo(in_the_place_of(path))
    os.chown(path, path.parent.stat().st_uid, -1)


def link_to_a_directory(path: Path, precious: Path) -> None:
    in_the_place_of(path).symlink_to(precious)


FILES = ["locks/users", "locks/start", "locks/initdb", "locks/keeper", "locks/server", "server.log"]


def refusal(server_directory: Path) -> str:
    """Say why a server is not started, and remove what has been planted."""
    with pytest.raises(EmbeddedServerError) as caught:
        embedded.start(server_directory)
    shutil.rmtree(server_directory)
    return str(caught.value)


@for_root
@pytest.mark.parametrize("plant", [link, dangling_link, hard_link, pipe])
@pytest.mark.parametrize("name", FILES)
def test_root_does_not_open_what_is_planted_for_a_file(
    server_directory: Path, precious: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    plant(server_directory / name, precious)
    before = state_of(precious)
    assert f"{server_directory / name} can't be trusted" in refusal(server_directory)
    assert state_of(precious) == before


@for_root
@pytest.mark.parametrize("name", ["run", "locks", "data"])
def test_root_does_not_enter_a_link_to_another_directory(
    server_directory: Path, precious: Path, name: str
) -> None:
    (server_directory / "data" / "postmaster.pid").write_text("99999999\n")
    for file in ("PG_VERSION", "postmaster.pid", ".s.PGSQL.5432"):
        (precious / file).write_text("18\n")
    link_to_a_directory(server_directory / name, precious)
    before = state_of(precious)
    assert f"{server_directory / name} can't be trusted" in refusal(server_directory)
    assert state_of(precious) == before


@for_root
def test_root_does_not_write_through_a_link_in_the_place_of_a_small_file(
    server_directory: Path, precious: Path
) -> None:
    before = state_of(precious)
    for name in ("endpoint", "endpoint.new"):
        link(server_directory / name, precious)
    with embedded.start(server_directory) as server:
        psycopg.connect(server.url).close()
    assert state_of(precious) == before


@for_root
def test_root_does_not_take_a_password_from_behind_a_link(
    server_directory: Path, precious: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.embedded.endpoint._LONGEST_SOCKET_PATH", 0)
    link(server_directory / "password", precious)
    with embedded.start(server_directory) as server, pytest.raises(EmbeddedServerError, match="password"):
        _ = server.url


@for_root
def test_a_new_log_does_not_begin_behind_a_link(server_directory: Path, precious: Path) -> None:
    with (server_directory / "server.log").open("ab") as log:
        log.truncate(2 * 1024 * 1024)
    link(server_directory / "server.log.1", precious)
    before = state_of(precious)
    with embedded.start(server_directory):
        assert (server_directory / "server.log").stat().st_size < 1024 * 1024
    assert state_of(precious) == before


@for_root
def test_the_keeper_has_the_rights_of_the_servers_account_alone(server_directory: Path) -> None:
    with embedded.start(server_directory):
        owner = server_directory.stat()
        status = Path(f"/proc/{keeper_of(server_directory)}/status").read_text()
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(told["Uid"].split()) == {str(owner.st_uid)}
        assert set(told["Gid"].split()) == {str(owner.st_gid)}
        assert told["Groups"].split() == []
        assert int(told["CapEff"], 16) == 0


@for_root
def test_a_temporary_server_is_removed_from_a_directory_that_is_closed_to_its_account(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with embedded.start(closed / "server", temporary=True, durable=False):
        assert (closed / "server").exists()
    eventually(lambda: _assert(not (closed / "server").exists()), within_s=15)


@pytest.fixture
def bystander(server_directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the server's account that has nothing to do with it."""
    account = Account.for_directory(server_directory)
    process = subprocess.Popen(["/bin/sleep", "60"], cwd="/", **account.identity())
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the system does not tell where a process works"
)
def test_a_keeper_does_not_signal_a_process_that_is_not_its_server(
    server_directory: Path, bystander: subprocess.Popen[bytes]
) -> None:
    file = server_directory / "data" / "postmaster.pid"
    with embedded.start(server_directory):
        postmaster = postmaster_of(server_directory)
        os.kill(keeper_of(server_directory), signal.SIGKILL)
        eventually(lambda: _assert(not FileLock.is_held(server_directory / "locks" / "keeper")))
        with embedded.start(server_directory):
            keeper = keeper_of(server_directory)
            file.write_text(file.read_text().replace(str(postmaster), str(bystander.pid), 1))
            os.kill(keeper, signal.SIGTERM)
            # Once the keeper's own signal waits no longer, the keeper has dealt with it.
            eventually(lambda: _assert(_pending(keeper) == 0))
    os.kill(postmaster, signal.SIGINT)
    wait_for_the_end(server_directory, postmaster, keeper)
    assert bystander.poll() is None


def _pending(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd")))


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777], ids=oct)
def test_a_directory_that_others_may_write_is_refused(server_directory: Path, mode: int) -> None:
    server_directory.chmod(mode)
    with pytest.raises(EmbeddedServerError) as caught:
        embedded.start(server_directory)
    assert f"{server_directory} has the mode {mode:04o}" in str(caught.value)
    command = f"chmod go-w {server_directory}"
    assert command in str(caught.value)
    subprocess.run(command.split(), check=True)
    embedded.start(server_directory).release()


@pytest.mark.parametrize("name", ["run", "locks"])
def test_folders_that_others_may_enter_are_closed(server_directory: Path, name: str) -> None:
    (server_directory / name).chmod(0o777)
    with embedded.start(server_directory):
        assert stat.S_IMODE((server_directory / name).stat().st_mode) == 0o700


@for_root
@pytest.mark.parametrize("name", ["run", "locks", "locks/server", "server.log"])
def test_what_a_third_account_owns_is_refused(server_directory: Path, name: str) -> None:
    os.chown(server_directory / name, 2, 2)
    assert f"{server_directory / name} can't be trusted" in refusal(server_directory)


@for_root
def test_what_a_killed_starter_had_not_handed_over_is_handed_over(server_directory: Path) -> None:
    for name in ("run", "locks"):
        in_the_place_of(server_directory / name).mkdir()
    with embedded.start(server_directory):
        pass
    wait_for_the_end(server_directory)
    os.chown(server_directory / "locks" / "users", 0, 0)
    with embedded.start(server_directory):
        owner = server_directory.stat().st_uid
        assert {path.stat().st_uid for path in server_directory.rglob("*")} == {owner}


def test_the_data_may_lie_on_another_disk(place: Path, server_directory: Path) -> None:
    elsewhere = (server_directory / "data").rename(place / "elsewhere")
    place.chmod(0o755)
    (server_directory / "data").symlink_to(elsewhere)
    with embedded.start(server_directory) as server:
        psycopg.connect(server.url).close()


def _assert(fact: bool) -> None:
    assert fact
