"""Files and folders in a server's directory, opened without being led elsewhere.

Root works in directories that lesser accounts may write. So nothing there is opened by a whole path: each folder is
opened within the one above it, no link is followed, and what is found must belong to the owner of the directory.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import EmbeddedServerError

__all__ = ["folder", "open_file", "own_folder", "read_text", "remove_files", "write_text"]

#: What links, and devices, pipes or files in the place of others, are refused with.
_ELSEWHERE = {errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.ENXIO}


@contextlib.contextmanager
def folder(directory: Path, name: str = "") -> Iterator[int]:
    """Give a descriptor of a server's directory, or of a folder in it.

    Raises:
      EmbeddedServerError: A link or somebody else's folder lies there.
    """
    with _entered(directory, directory) as descriptor:
        if not name:
            yield descriptor
            return
        with _entered(directory / name, name, inside=descriptor) as inner:
            _check(inner, os.fstat(descriptor), directory / name)
            yield inner


@contextlib.contextmanager
def _entered(path: Path, name: Path | str, *, inside: int | None = None) -> Iterator[int]:
    # The data may lie behind a link, on another disk; but they are their owner's, wherever they are.
    no_link = 0 if name == "data" else os.O_NOFOLLOW
    with _naming(path):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | no_link, dir_fd=inside)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def own_folder(directory: Path, name: str) -> None:
    """Make sure of a folder that nobody but the directory's owner may enter."""
    with folder(directory) as descriptor:
        with _naming(directory / name), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=descriptor)
        with _entered(directory / name, name, inside=descriptor) as inner:
            owner = os.fstat(descriptor)
            _hand_over(inner, owner)
            _check(inner, owner, directory / name)
            if stat.S_IMODE(os.fstat(inner).st_mode) != 0o700:
                os.fchmod(inner, 0o700)


def open_file(directory: Path, name: str, flags: int) -> int:
    """Open a file, as in ``locks/users``; one that is made belongs to the owner of the directory.

    Raises:
      EmbeddedServerError: A link, somebody else's file, or no file at all lies there.
    """
    inside, _, last = name.rpartition("/")
    with folder(directory, inside) as descriptor, _naming(directory / name):
        # Without O_NONBLOCK, a pipe that somebody has put there would have us wait.
        opened = os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=descriptor)
        try:
            owner = os.fstat(descriptor)
            if flags & os.O_CREAT:
                _hand_over(opened, owner)
            # What we only read may be ours as well: restored from a backup, for example.
            if not (flags & os.O_ACCMODE == os.O_RDONLY and _is_file_of_ours(opened)):
                _check(opened, owner, directory / name)
        except BaseException:
            os.close(opened)
            raise
        return opened


def read_text(directory: Path, name: str) -> str:
    """Return what is in a small file."""
    with os.fdopen(open_file(directory, name, os.O_RDONLY)) as file:
        return file.read()


def write_text(directory: Path, name: str, text: str) -> None:
    """Write a small file that only the directory's owner may read, all of it or nothing."""
    fresh = f"{name}.new"
    remove_files(directory, "", [fresh])
    with os.fdopen(open_file(directory, fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        file.write(text)
    with folder(directory) as descriptor, _naming(directory / name):
        os.replace(fresh, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)


def remove_files(directory: Path, inside: str, names: list[str] | None = None) -> None:
    """Remove files of a folder: those of these names that are there, or all."""
    with folder(directory, inside) as descriptor, _naming(directory / inside):
        for name in os.listdir(descriptor) if names is None else names:  # noqa: PTH208 - has no path
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)


def _is_file_of_ours(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _hand_over(descriptor: int, owner: os.stat_result) -> None:
    """Give the directory's owner what has just been made for him.

    What holds something has not: he could have moved or linked a file of ours here.
    """
    found = os.fstat(descriptor)
    if found.st_uid == owner.st_uid or found.st_uid != os.geteuid():
        return
    is_fresh_file = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_size == 0
    if is_fresh_file or (stat.S_ISDIR(found.st_mode) and not os.listdir(descriptor)):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _check(descriptor: int, owner: os.stat_result, path: Path) -> None:
    found = os.fstat(descriptor)
    usual = stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)
    if not usual or found.st_uid != owner.st_uid:
        raise _planted(path, owner.st_uid)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have errors name the whole path, and say what a link means."""
    try:
        yield
    except OSError as error:
        if error.errno in _ELSEWHERE and _is_led_elsewhere(path):
            raise _planted(path, None) from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def _is_led_elsewhere(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode)


def _planted(path: Path, uid: int | None) -> EmbeddedServerError:
    owner = "the owner of the server's directory" if uid is None else f"user {uid}, who owns its directory"
    return EmbeddedServerError(
        f"{path} can't be trusted: a file or folder of {owner} is expected there, not a link, a device or what "
        "somebody else owns. See who put it there and remove it, or name another directory: "
        "PGQUEUE_URL=embedded:/directory"
    )
