"""A small disk, for a server that is to find it full: a file system in memory, which only root can mount."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SmallDisk", "small_disk"]

_BLOCK = b"\0" * 65_536


class SmallDisk:
    """A file system of so many megabytes, and what is thrown onto it to fill it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def fill(self) -> None:
        """Leave no room; what others have freed meanwhile is filled, too."""
        with self._ballast.open("ab", buffering=0) as file:
            for block in (_BLOCK, _BLOCK[:4096]):
                try:
                    while True:
                        file.write(block)
                except OSError:
                    continue

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """Mount one; skip the test where that is not allowed."""
    place = Path(tempfile.mkdtemp(prefix="pgqueue-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "pgqueue-test", str(place)]
    try:
        if os.name != "posix" or os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        try:
            yield SmallDisk(place)
        finally:
            subprocess.run(["umount", "--lazy", str(place)], check=False)  # noqa: S607
    finally:
        place.rmdir()
