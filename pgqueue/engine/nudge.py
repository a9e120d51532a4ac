"""How a thread that waits for its connection is called by others."""

import os
import select
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Nudge"]


class Nudge:
    """A pipe, for a thread that waits for whatever comes first: something on its connection, or a call.

    Programs close descriptors that they know nothing of (``os.closerange``): it is made anew then. What has its number
    now is somebody else's, and neither read nor written nor closed.
    """

    def __init__(self) -> None:
        self._pipe: _Pipe | None = _Pipe.open()

    def give(self) -> None:
        """Call; from any thread."""
        pipe = self._pipe
        if pipe is not None and pipe.has(pipe.writer):
            with suppress(OSError):
                os.write(pipe.writer, b"!")

    def wait(self, descriptor: int, within_s: float) -> bool:
        """Wait for something to read from ``descriptor``, or for a call; return whether it is the former."""
        pipe = self._pipe
        if pipe is None or not (pipe.has(pipe.reader) and pipe.has(pipe.writer)):
            self.close()
            pipe = self._pipe = _Pipe.open()
        ready = _readable([descriptor, pipe.reader], within_s)
        if pipe.reader in ready and pipe.has(pipe.reader):
            with suppress(BlockingIOError):
                os.read(pipe.reader, 4096)
        return descriptor in ready

    def close(self) -> None:
        """Close it; calls lead nowhere from now on."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            for end in filter(pipe.has, (pipe.reader, pipe.writer)):
                os.close(end)


@dataclass(frozen=True, slots=True)
class _Pipe:
    reader: int
    writer: int
    identity: tuple[int, int] | None

    @classmethod
    def open(cls) -> "_Pipe":
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        return cls(reader, writer, _identity(reader))

    def has(self, end: int) -> bool:
        """Whether that number is still an end of it."""
        return _identity(end) == self.identity


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Which file it is; both ends of a pipe are one. None if it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _readable(descriptors: list[int], within_s: float) -> set[int]:
    """Those from which something can be read, once there are any; all numbers will do where there is poll()."""
    if not hasattr(select, "poll"):
        return set(select.select(descriptors, [], [], within_s)[0])
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _event in poll.poll(within_s * 1000)}
