"""The directory of one bundled server: what lies in it, whose it is, and how the server gets into it.

========== ==================================================================
data       PostgreSQL's data directory
run        its socket, if the path is short enough for one
locks      users, start, initdb, keeper, server: see `locks`
password   of the role postgres, for connections over TCP
endpoint   where the running server listens (JSON)
server.log what it says, and the log of the start before the last
========== ==================================================================
"""

import contextlib
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import EmbeddedServerError
from .account import Account
from .files import folder, open_file, own_folder, write_text
from .locks import FileLock

__all__ = ["Entrance", "Home"]

_OURS = {
    "data",
    "data.new",
    "run",
    "locks",
    "password",
    "password.new",
    "endpoint",
    "endpoint.new",
    "server.log",
    "server.log.1",
}

_LOCKS = ("users", "start", "initdb", "keeper", "server")


@dataclass(frozen=True, slots=True)
class Entrance:
    """How the server's account reaches the directory.

    Parameters:
      path: The directory as the server sees it.
      descriptors: What its process must inherit for that path to be valid.
    """

    path: str
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """A server's directory, with the account it belongs to."""

    directory: Path
    account: Account

    @classmethod
    def claim(cls, directory: Path) -> "Home":
        """Make the directory or take an empty one; find the account that its server runs as.

        Raises:
          EmbeddedServerError: It can't be made, is another user's, may be written by others, or holds something else.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with folder(directory) as descriptor:
                return cls._taken(directory, descriptor)
        except OSError as error:
            raise _unusable(directory, error) from error

    @classmethod
    def _taken(cls, directory: Path, descriptor: int) -> "Home":
        names = set(os.listdir(descriptor))
        if names - _OURS and "data" not in names and "PG_VERSION" not in names:
            message = (
                f"{directory} is not empty and holds no bundled server. "
                "Name an empty directory, or one that doesn't exist: PGQUEUE_URL=embedded:/directory"
            )
            raise EmbeddedServerError(message)
        found = os.fstat(descriptor)
        home = cls(directory, Account.for_directory(directory, found))
        _refuse_loose(directory, stat.S_IMODE(found.st_mode))
        if found.st_uid != home.account.uid:
            os.fchown(descriptor, home.account.uid, home.account.gid)
        with home.writing():
            home._furnish()
        return home

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Say of what can't be written in the directory that it is the directory that can't be used."""
        try:
            yield
        except OSError as error:
            # Others are of programs that can't be run, for example.
            if not Path(str(error.filename)).is_relative_to(self.directory):
                raise
            raise _unusable(self.directory, error) from error

    def _furnish(self) -> None:
        for name in ("run", "locks"):
            own_folder(self.directory, name)
        for name in _LOCKS:
            os.close(open_file(self.directory, f"locks/{name}", os.O_RDWR | os.O_CREAT))

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "server.log"

    def lock_path(self, name: str) -> Path:
        """Return the file behind one of the locks."""
        return self.directory / "locks" / name

    def lock(self, name: str, *, exclusive: bool) -> FileLock:
        """Return one of the locks, not yet taken."""
        return FileLock(self.lock_path(name), exclusive=exclusive)

    def is_running(self) -> bool:
        """Whether a server that we started runs, or any process of one."""
        return FileLock.is_held(self.lock_path("server"))

    def is_kept(self) -> bool:
        """Whether somebody watches over the server."""
        return FileLock.is_held(self.lock_path("keeper"))

    def write(self, name: str, text: str) -> None:
        """Write a small file that only the account may read, all of it or nothing."""
        write_text(self.directory, name, text)

    @contextlib.contextmanager
    def entrance(self) -> Iterator[Entrance]:
        """Give the path by which the server's account enters.

        Root's directories are often closed to everybody else, from /root down. On Linux the account then
        enters through a descriptor that root opened for it: no permission on the way needs to change.

        Raises:
          EmbeddedServerError: There is no way in.
        """
        plain = str(self.directory)
        if self.account.is_ours or self.account.can_enter(plain):
            yield Entrance(plain)
            return
        if sys.platform != "linux":
            raise self._unreachable()
        descriptor = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
        try:
            entrance = Entrance(f"/proc/self/fd/{descriptor}", (descriptor,))
            if not self.account.can_enter(entrance.path, descriptors=entrance.descriptors):
                raise self._unreachable()
            yield entrance
        finally:
            os.close(descriptor)

    def _unreachable(self) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"{self.directory} can't be entered by the account that the bundled server runs as "
            f"(uid {self.account.uid}; PostgreSQL refuses to run as root). "
            "Name a directory below one that everybody may enter, such as PGQUEUE_URL=embedded:/var/lib/pgqueue/mine"
        )


def _refuse_loose(directory: Path, mode: int) -> None:
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        message = (
            f"{directory} has the mode {mode:04o}: others than its owner may write there, and so could take over the "
            f"bundled server. Close it with `chmod go-w {shlex.quote(str(directory))}`, or name another directory: "
            "PGQUEUE_URL=embedded:/directory"
        )
        raise EmbeddedServerError(message)


def _unusable(directory: Path, error: OSError) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"{directory} can't be used for the bundled server: {error.strerror}. "
        "Name another directory: PGQUEUE_URL=embedded:/directory"
    )
