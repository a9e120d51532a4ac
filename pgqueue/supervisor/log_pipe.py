"""Output of all processes in one place: children write to pipes, the main process to a file or standard error."""

import logging
import os
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from .log_format import JSON, TEXT, JSONFormatter, TextFormatter

__all__ = ["LogPipe", "LogSink", "configure_logging", "redirect_output"]

#: As Dramatiq's, so that programs that parse it go on working.
FORMAT = "[%(asctime)s] [PID %(process)d] [%(threadName)s] [%(name)s] [%(levelname)s] %(message)s"

#: Bytes taken from a pipe at a time: what a Linux pipe holds.
CHUNK = 65_536

#: Bytes of an unfinished line that we keep back.
LONGEST_LINE = 1_048_576


class LogSink:
    """Where everything ends up: the log file, opened for appending, or standard error.

    Raises:
      OSError: The file can't be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.text: TextIO = sys.stderr if path is None else path.open("a", encoding="utf-8")
        self._descriptor = self.text.fileno()

    def write(self, chunk: bytes) -> None:
        """Write one chunk; a full disk or closed terminal must not stop the workers."""
        rest = memoryview(chunk)
        with suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def close(self) -> None:
        """Close the file; standard error stays open."""
        if self.text is not sys.stderr:
            with suppress(OSError):
                self.text.close()


class LogPipe:
    """The main process's end of one child's output; passes on whole lines only."""

    def __init__(self, reader: Connection, sink: LogSink) -> None:
        self._reader = reader
        self._sink = sink
        self._rest = b""
        os.set_blocking(reader.fileno(), False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the child has written."""
        return self._reader.fileno()

    def pump(self) -> bool:
        """Pass on what has come; return False at the end, when nobody can write any more."""
        try:
            chunk = os.read(self._reader.fileno(), CHUNK)
        except BlockingIOError:
            return True
        lines, newline, rest = (self._rest + chunk).rpartition(b"\n")
        # A line without end is passed on in pieces, so that it can't fill our memory.
        if len(rest) > LONGEST_LINE:
            newline, rest = newline + rest, b""
        self._rest = rest
        if lines or newline:
            self._sink.write(lines + newline)
        return bool(chunk)

    def drain(self) -> None:
        """Pass on all that a dead child has left; grandchildren may keep the pipe open."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader.fileno(), CHUNK):
                self._rest += chunk
        if self._rest:
            self._sink.write(self._rest.rstrip(b"\n") + b"\n")
        self._rest = b""

    def close(self) -> None:
        """Close our end."""
        self._reader.close()


def redirect_output(pipe: Connection) -> None:
    """Make this process's standard output and error, of C code as well, go into ``pipe``."""
    for number in (1, 2):
        os.dup2(pipe.fileno(), number)
    pipe.close()
    sys.stdout = _stream(1)
    sys.stderr = _stream(2)


def configure_logging(verbose: int, stream: TextIO, log_format: str = TEXT) -> None:
    """Log INFO, or DEBUG if ``verbose``, to ``stream``, in place of what a forking parent had set."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter() if log_format == JSON else TextFormatter(FORMAT))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)


def _stream(descriptor: int) -> TextIO:
    # Line-buffered: a line is written at once, so lines of different processes never mix.
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
