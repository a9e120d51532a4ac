"""How a bundled server gets going: its files, its command line, and the keeper that runs it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EmbeddedServerError
from .binaries import Binaries
from .cluster import clear_stale_files, ensure_initialised, environment, refuse_other_version
from .endpoint import Endpoint
from .files import folder, open_file, read_text
from .home import Entrance, Home

__all__ = ["Options", "appoint_keeper", "ensure_ready", "is_ready"]

_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

#: Bytes of dynamic shared memory below which PostgreSQL is told to use files instead: containers may have less.
_ENOUGH_SHARED_MEMORY = 32 * 1024 * 1024

#: Bytes of log after which a start begins a new one.
_LONG_LOG = 1024 * 1024

_KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is run.

    Parameters:
      port: A port on 127.0.0.1 besides the socket.
      temporary: Its directory is removed when it stops.
    """

    durable: bool = True
    temporary: bool = False
    port: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def is_ready(home: Home) -> bool:
    """Whether a server that we started takes connections."""
    try:
        lines = read_text(home.directory, "data/postmaster.pid").splitlines()
    except OSError:
        return False
    return bool(lines) and lines[-1].strip() == "ready" and home.is_running()


def ensure_ready(home: Home, binaries: Binaries, options: Options, *, timeout_s: float) -> None:
    """Bring the server to where it takes connections. The caller holds the lock ``start``.

    Raises:
      EmbeddedServerError: It would not start, or is not ready in time.
    """
    if is_ready(home) and home.is_kept():
        return
    log_length = _begin_log(home)
    deadline = time.monotonic() + timeout_s
    if not home.is_kept():
        appoint_keeper(home, binaries, options, timeout_s=timeout_s)
    while not (is_ready(home) and home.is_kept()):
        if time.monotonic() > deadline:
            message = (
                f"The bundled server in {home.directory} is not ready after {timeout_s:g} s; it may be recovering "
                f"from a crash. It goes on by itself, so try again later. Its log is {home.log}"
            )
            raise EmbeddedServerError(message)
        if not home.is_kept():
            if not home.is_running():
                message = (
                    f"The bundled server in {home.directory} did not start:\n{_log_since(home, log_length)}"
                )
                raise EmbeddedServerError(message)
            appoint_keeper(home, binaries, options, timeout_s=timeout_s)
        time.sleep(0.01)


def appoint_keeper(home: Home, binaries: Binaries, options: Options, *, timeout_s: float) -> None:
    """Start a keeper, which starts the server or takes over the one that runs. Needs the lock ``start``."""
    usable, version = binaries.usable_by(home.account)
    with home.entrance() as entrance:
        if home.is_running():
            endpoint = Endpoint.read(home)
        else:
            refuse_other_version(home, version=version)
            ensure_initialised(home, entrance, usable, settings=_for_this_machine(), durable=options.durable)
            clear_stale_files(home)
            endpoint = Endpoint.choose(home, port=options.port)
        order = {
            "command": _command(
                usable, entrance, {**_settings(options), **endpoint.settings(home, entrance)}
            ),
            "data": f"{entrance.path}/data",
            "descriptors": entrance.descriptors,
            "environment": environment(),
            "identity": home.account.identity(),
            "locks": str(Path(entrance.path, "locks")),
            "log": f"{entrance.path}/server.log",
            "remove": endpoint.outside(home),
            "remove_home": str(home.directory) if options.temporary else None,
            # A server whose files go at once has nothing to write out.
            "stop_signals": ["SIGQUIT"] if options.temporary else ["SIGINT", "SIGQUIT"],
        }
        _spawn(order, timeout_s=timeout_s)


def _spawn(order: Mapping[str, object], *, timeout_s: float) -> None:
    # Without site-packages, environment variables and the current directory: quick to start, and nothing
    # that a program puts there can break it.
    command = [sys.executable, "-I", "-S", str(_KEEPER), json.dumps(order)]
    descriptors = order["descriptors"]
    assert isinstance(descriptors, tuple)  # noqa: S101 - for the type checker
    starter = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        pass_fds=descriptors,
        start_new_session=True,
    )
    with starter, contextlib.suppress(subprocess.TimeoutExpired):
        # Ends when the keeper closes the pipe: the server is ready or has failed.
        starter.communicate(timeout=timeout_s)


def _command(binaries: Binaries, entrance: Entrance, settings: Mapping[str, str]) -> list[str]:
    command = [binaries.program("postgres"), "-D", f"{entrance.path}/data"]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def _settings(options: Options) -> dict[str, str]:
    durability = {} if options.durable else _NOT_DURABLE
    return {**durability, **_for_this_machine(), **options.settings}


def _for_this_machine() -> dict[str, str]:
    return {} if _has_shared_memory() else {"dynamic_shared_memory_type": "mmap"}


def _has_shared_memory(directory: str = "/dev/shm") -> bool:  # noqa: S108 - the system's name for it
    """Whether POSIX shared memory is there, or the system keeps it elsewhere than in a file system."""
    if sys.platform != "linux":
        return True
    try:
        room = os.statvfs(directory)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize >= _ENOUGH_SHARED_MEMORY


def _begin_log(home: Home) -> int:
    """Make sure of a log that isn't too long; return its length."""
    length = _log_length(home)
    if length <= _LONG_LOG:
        return length
    name = home.log.name
    with folder(home.directory) as descriptor:
        os.replace(name, f"{name}.1", src_dir_fd=descriptor, dst_dir_fd=descriptor)
    return _log_length(home)


def _log_length(home: Home) -> int:
    descriptor = open_file(home.directory, home.log.name, os.O_WRONLY | os.O_CREAT)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _log_since(home: Home, position: int) -> str:
    with os.fdopen(open_file(home.directory, home.log.name, os.O_RDONLY), "rb") as log:
        log.seek(position)
        return log.read().decode(errors="replace").strip()[-2000:]
