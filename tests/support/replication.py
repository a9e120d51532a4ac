"""Two servers of the bundled programs, of which one follows the other: for what befalls workers when it takes over."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from pgqueue.embedded.account import Account
from pgqueue.embedded.binaries import Binaries

from .eventually import eventually
from .postgres import quick_directory

__all__ = ["Node", "Pair"]

#: They crash as programs, not as machines; a commit waits for the other server nevertheless.
_SETTINGS = {
    "cluster_name": "",
    # What a killed server leaves of it goes with its directory, not with the machine.
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "hot_standby_feedback": "on",
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
}

#: Runs a server that ends with whoever holds its standard input, even if that is killed.
_KEPT = '"$@" & server=$!; cat > /dev/null; kill -QUIT $server; kill -CONT $server; wait $server'


class Node:
    """One server: its data and its socket in a directory of its own."""

    def __init__(self, directory: Path, name: str, settings: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._settings = {**_SETTINGS, **(settings or {})}
        self.directory = directory / name
        self.data = self.directory / "data"
        self.directory.mkdir(mode=0o700)
        self._account = Account.for_directory(directory)
        self._account.own(self.directory)
        self._programs, _ = Binaries.find().usable_by(self._account)
        self._shell: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL; the host tells the servers of a pair apart."""
        return f"postgresql://postgres@/postgres?host={self.directory}"

    def initialise(self) -> None:
        """Make an empty server."""
        self._run("initdb", f"--pgdata={self.data}", "--username=postgres", "--auth=trust", "--no-sync")

    def copy(self, other: "Node") -> None:
        """Begin anew as one that follows another server."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            "pg_basebackup", f"--pgdata={self.data}", f"--dbname={other.url}", "--write-recovery-conf",
            "--checkpoint=fast", "--no-sync",
        )  # fmt: skip

    def start(self) -> None:
        """Run, and wait until connections are taken."""
        settings = {
            **self._settings,
            "cluster_name": self.name,
            "unix_socket_directories": str(self.directory),
        }
        command = [self._programs.program("postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.directory / "log").open("ab") as log:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _KEPT, "sh", *command], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/",
                **self._account.identity(),
            )  # fmt: skip
        eventually(self._take_connections, within_s=30.0)

    def stop(self) -> None:
        """End at once, without a checkpoint; may be called again."""
        if self._shell is not None:
            shell, self._shell = self._shell, None
            with suppress(OSError, ValueError):
                self.send(signal.SIGCONT)
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(30.0)

    def kill(self) -> None:
        """End all of its processes at the same moment; what they had not written is gone."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)  # lest it starts another one
        eventually(partial(_assert_in_state, pid, "T"), within_s=30.0)
        killed = self.send(signal.SIGKILL)
        self.stop()
        # The next one refuses to start while any of them is in the shared memory still.
        for each in killed:
            eventually(partial(_assert_in_state, each, "Z"), within_s=30.0)

    def send(self, number: signal.Signals) -> list[int]:
        """Send a signal to the server and all its processes; return their ids."""
        pid = self._pid()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pids := [pid, *map(int, children)]):
            with suppress(ProcessLookupError):
                os.kill(each, number)
        return pids

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        """Run statements as the superuser, each by itself; return the rows of the last."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            for statement in statements[:-1]:
                conn.execute(statement.encode())
            cursor = conn.execute(statements[-1].encode())
            return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        """What it has said."""
        return (self.directory / "log").read_text()

    def _pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def _take_connections(self) -> None:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError as error:
            raise AssertionError(f"{error}\n{self.log()}") from error

    def _run(self, program: str, *arguments: str) -> None:
        outcome = subprocess.run(
            [self._programs.program(program), *arguments], check=False, cwd="/", capture_output=True, text=True,
            **self._account.identity(),
        )  # fmt: skip
        assert outcome.returncode == 0, outcome.stderr


def _assert_in_state(pid: int, state: str) -> None:
    """See that a process is in a state, as in proc(5), or gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert found in {state, "Z", "X"}, (pid, found)


class Pair:
    """A server and one that follows it synchronously: a commit is not confirmed before both have it.

    Parameters:
      synchronous: Without it a commit is confirmed as soon as the first has it.

    Attributes:
      primary: The one that leads.
      standby: The one that follows.
    """

    def __init__(self, *, synchronous: bool = True) -> None:
        self._names = "*" if synchronous else ""
        self._directory = Path(tempfile.mkdtemp(prefix="pgqueue-pair-", dir=quick_directory()))
        account = Account.for_directory(self._directory)
        account.own(self._directory)
        self.primary, self.standby = (Node(self._directory, name) for name in ("a", "b"))
        self._nodes: Sequence[Node] = (self.primary, self.standby)

    @property
    def url(self) -> str:
        """A URL that names both, always in the same order, and asks for the one that takes writes."""
        hosts = ",".join(str(node.directory) for node in self._nodes)
        return f"postgresql://postgres@/postgres?host={hosts}&target_session_attrs=read-write"

    def follow(self) -> None:
        """Have the standby begin anew as a copy of the primary; from then on commits wait for it, if they are to."""
        self.standby.stop()
        self.standby.copy(self.primary)
        self.standby.start()
        self.primary.execute(
            f"ALTER SYSTEM SET synchronous_standby_names = '{self._names}'", "SELECT pg_reload_conf()"
        )
        eventually(self._follows, within_s=30.0)

    def promote(self) -> None:
        """Have the standby take over: the commits of an old primary that lives wait for ever, if they were to wait."""
        self.standby.execute(
            "ALTER SYSTEM SET synchronous_standby_names = ''",
            "SELECT pg_reload_conf()",
            "SELECT pg_promote(true, 60)",
        )
        self.primary, self.standby = self.standby, self.primary

    def fall_behind(self) -> None:
        """Have the primary send nothing more to the standby, which does not know of it."""
        ((pid,),) = self.primary.execute("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")
        os.kill(int(str(pid)), signal.SIGSTOP)

    def _follows(self) -> None:
        found = self.primary.execute("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
        assert found == [("sync" if self._names else "async",)], found

    def __enter__(self) -> Self:
        try:
            self.primary.initialise()
            self.primary.start()
            self.follow()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop both and remove their files."""
        for node in self._nodes:
            node.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
