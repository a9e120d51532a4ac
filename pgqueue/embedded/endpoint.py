"""Where a bundled server listens: a socket that only its users can reach, or a port on 127.0.0.1."""

import contextlib
import json
import os
import socket
import stat
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import EmbeddedServerError
from .cluster import ROLE, password
from .files import folder, read_text
from .home import Entrance, Home

__all__ = ["Endpoint"]

#: Bytes that the path of a socket may have: 108 on Linux and 104 on macOS, with the terminating zero.
_LONGEST_SOCKET_PATH = 103

#: The port in a socket's name. It says nothing: each server has a directory of its own.
_SOCKET_PORT = 5432


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens.

    Parameters:
      socket_directory: Closed to everybody but the server's account; None if sockets can't be used.
      port: That of the TCP listener if there is one, and always that in the socket's name.
      tcp: Whether 127.0.0.1 is listened on.
    """

    socket_directory: str | None
    port: int
    tcp: bool

    @classmethod
    def choose(cls, home: Home, *, port: int | None) -> "Endpoint":
        """Find a place to listen for a server about to start, and note it for later users.

        Raises:
          EmbeddedServerError: The wanted port is in use.
        """
        if port is not None and not _is_free(port):
            message = (
                f"Port {port} on 127.0.0.1 is in use, so the bundled server can't listen there. "
                "Choose another: PGQUEUE_URL=embedded:/directory?port=NUMBER; without one it uses a socket"
            )
            raise EmbeddedServerError(message)
        directory = _socket_directory(home, port=port or _SOCKET_PORT)
        if directory is not None:
            chosen = cls(directory, port or _SOCKET_PORT, tcp=port is not None)
        else:
            chosen = cls(None, port or _any_free_port(), tcp=True)
        home.write("endpoint", json.dumps(asdict(chosen)))
        return chosen

    @classmethod
    def read(cls, home: Home) -> "Endpoint":
        """Return where the running server listens."""
        return cls(**json.loads(read_text(home.directory, "endpoint")))

    def url(self, home: Home) -> str:
        """Return the URL of the server's first database."""
        if self.socket_directory is not None:
            host = quote(self.socket_directory, safe="/")
            return f"postgresql://{ROLE}@/{ROLE}?host={host}&port={self.port}"
        return f"postgresql://{ROLE}:{quote(password(home), safe='')}@127.0.0.1:{self.port}/{ROLE}"

    def settings(self, home: Home, entrance: Entrance) -> dict[str, str]:
        """Return PostgreSQL's settings for it."""
        seen = self.socket_directory or ""
        if seen == str(home.directory / "run"):
            seen = f"{entrance.path}/run"
        quoted = '"' + seen.replace('"', '""') + '"' if seen else ""
        return {
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            "port": str(self.port),
            "unix_socket_directories": quoted,
        }

    def outside(self, home: Home) -> list[str]:
        """Return what must be removed with the server because it lies elsewhere."""
        if self.socket_directory in (None, str(home.directory / "run")):
            return []
        return [str(self.socket_directory)]


def _socket_directory(home: Home, *, port: int) -> str | None:
    inside = home.directory / "run"
    with folder(home.directory, "run") as descriptor:
        if _takes_sockets(inside, descriptor, port=port):
            return str(inside)
    with contextlib.suppress(OSError):
        outside = Path(tempfile.mkdtemp(prefix="pgqueue-", dir="/tmp"))
        home.account.own(outside)
        with folder(outside) as descriptor:
            if _takes_sockets(outside, descriptor, port=port):
                return str(outside)
        outside.rmdir()
    return None


def _takes_sockets(directory: Path, descriptor: int, *, port: int) -> bool:
    """Whether a socket there has a path that clients can name, and a file system that knows sockets."""
    name = f".s.PGSQL.{port}"
    path = directory / name
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH or "," in str(path):  # a comma separates hosts in a URL
        return False
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(name, dir_fd=descriptor).st_mode):
            os.unlink(name, dir_fd=descriptor)  # of a server that was killed
    # By the descriptor, for the folder may have been exchanged for a link meanwhile.
    reached = f"/proc/self/fd/{descriptor}/{name}" if sys.platform == "linux" else str(path)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(reached)
        os.unlink(name, dir_fd=descriptor)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
