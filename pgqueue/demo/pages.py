"""The pages to count: text files of Python's library, and a web server on this machine that has them."""

import os
import socketserver
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from ..errors import PgQueueError

__all__ = ["FINISHED", "Page", "PageServer", "find_pages", "python_library"]

#: Endings of the files that count as text.
TEXT = frozenset({".cfg", ".md", ".py", ".pyi", ".rst", ".toml", ".txt"})

#: Directories whose files are not the library's own, or are made by running it.
STRANGERS = frozenset({"__pycache__", "dist-packages", "site-packages"})

#: Every how many pages the server is too busy when it is asked for one the first time.
BUSY_EVERY = 20

#: Where the group's callback reports.
FINISHED = "/finished"


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is served, with what a look at the file itself says.

    Parameters:
      address: Its path on the server.
      name: Its path in the library.
    """

    address: str
    name: str
    path: Path
    words: int
    size: int


def python_library() -> Path:
    """Return the directory of the standard library that runs this."""
    return Path(sysconfig.get_path("stdlib"))


def find_pages(root: Path, count: int | None = None) -> list[Page]:
    """Find text files below ``root`` and count their words.

    Parameters:
      count: How many pages; files are left out or served several times to come to it. None for one a file.

    Raises:
      PgQueueError: There are none.
    """
    files = sorted(_text_files(root))
    if not files:
        raise PgQueueError(f"There is no readable text file in {root}: this Python came without its library.")
    wanted = len(files) if count is None else count
    if wanted < len(files):
        files = [files[number * len(files) // wanted] for number in range(wanted)]
    seen: Counter[Path] = Counter()
    pages = []
    for path in islice(cycle(files), wanted):
        pages.append(_page(root, path, copy=seen[path]))
        seen[path] += 1
    return pages


def _text_files(root: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(root):
        folders[:] = [folder for folder in folders if folder not in STRANGERS]
        for name in names:
            path = Path(directory, name)
            if path.suffix in TEXT and path.is_file() and os.access(path, os.R_OK):
                yield path


def _page(root: Path, path: Path, *, copy: int) -> Page:
    name = path.relative_to(root).as_posix()
    content = path.read_bytes()
    address = f"/{quote(name)}" + (f"?copy={copy}" if copy else "")
    return Page(address, name, path, len(content.split()), len(content))


class PageServer:
    """Serves pages on a free port of this machine, in threads of this process, until it is closed.

    Parameters:
      hold_from: So many requests are served at once; later ones are held until `open_gate`, so that there is
        something running when a worker is to be killed.
    """

    def __init__(self, pages: Collection[Page], *, hold_from: int) -> None:
        self.requests = 0
        self.first_request_at = 0.0
        self.finished = 0
        self._files: Mapping[str, Path] = {page.address: page.path for page in pages}
        self._busy_for = {page.address for page in list(pages)[::BUSY_EVERY]}
        self._hold_from = hold_from
        self._gate = threading.Event()
        self._visitors: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its URL, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def busiest(self, pids: Collection[int]) -> int:
        """Which of these processes waits for the most pages now; 0 if none does."""
        with self._lock:
            waiting = [pid for pid in pids if self._visitors[pid]]
            return max(waiting, key=self._visitors.__getitem__, default=0)

    def open_gate(self) -> None:
        """Hold no request any longer."""
        self._gate.set()

    def close(self) -> None:
        """Stop serving."""
        self.open_gate()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── For the handlers, in their threads ────────────────────────────────────────────────────────

    @contextmanager
    def visit(self, pid: int) -> Iterator[None]:
        """Count a process as waiting for a page, which may be long."""
        with self._lock:
            number, self.requests = self.requests, self.requests + 1
            self.first_request_at = self.first_request_at or time.monotonic()
            self._visitors[pid] += 1
        try:
            if number >= self._hold_from:
                self._gate.wait()
            yield
        finally:
            with self._lock:
                self._visitors[pid] -= 1

    def answer(self, address: str) -> tuple[int, bytes]:
        """Return status and content for an address."""
        path = self._files.get(address)
        if path is None:
            return 404, b""
        with self._lock:
            busy = address in self._busy_for
            self._busy_for.discard(address)
        return (503, b"") if busy else (200, path.read_bytes())

    def note_finished(self) -> None:
        """Count a report of the callback."""
        with self._lock:
            self.finished += 1


class _Handler(BaseHTTPRequestHandler):
    """Answers one request; the rest of the machine may send some, too."""

    def __init__(self, pages: PageServer, *arguments: Any) -> None:
        self._pages = pages
        super().__init__(*arguments)

    def do_GET(self) -> None:  # http.server's name
        """Send a page."""
        with self._pages.visit(self._pid()):
            status, content = self._pages.answer(self.path)
            self._send(status, content)

    def do_POST(self) -> None:  # http.server's name
        """Take the callback's report."""
        if self.path == FINISHED:
            self._pages.note_finished()
        self._send(204 if self.path == FINISHED else 404)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's names
        """Keep quiet."""

    def _pid(self) -> int:
        _, _, pid = self.headers.get("User-Agent", "").rpartition("/")
        return int(pid) if pid.isdecimal() else 0

    def _send(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        # HTTPServer's own asks the name service for this machine's name, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A killed worker doesn't read its answer.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
