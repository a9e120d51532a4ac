"""A TCP proxy before the tests' server, which can fall silent: it passes nothing on any more and closes nothing."""

import os
import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from psycopg.conninfo import conninfo_to_dict, make_conninfo

__all__ = ["Proxy", "connected", "refusing_port"]


class Proxy:
    """Listens on a free port of the loopback for as long as it is entered.

    Attributes:
      url: Leads through the proxy to the database of the URL that was given.
      accepted: How many connections it has taken.
    """

    def __init__(self, url: str) -> None:
        self._target = url
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(url, host="127.0.0.1", port=self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = os.pipe()
        self._silent = self._closing = False
        self._mute: list[socket.socket] = []
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def silence(self) -> None:
        """Pass nothing on any more; new connections are taken, and not passed on either."""
        self._silent = True
        os.write(self._wake_out, b"!")

    def restore(self) -> None:
        """Serve new connections again; the ones from before stay silent, as those behind a failed-over router do."""
        self._silent = False
        os.write(self._wake_out, b"!")

    def _run(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fileobj == self._wake_in:
                    os.read(self._wake_in, 4096)
                elif key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket) and not self._silent:
                    self._pass_on(key.fileobj, key.data)
            if self._silent:
                self._fall_silent()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.accepted += 1
        if self._silent:
            self._mute.append(client)
            return
        server = connected(self._target)
        self._selector.register(client, selectors.EVENT_READ, server)
        self._selector.register(server, selectors.EVENT_READ, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = source.recv(65536)
        with suppress(OSError):
            if data:
                target.sendall(data)
                return
        for end in (source, target):
            with suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()

    def _fall_silent(self) -> None:
        for key in [*self._selector.get_map().values()]:
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._listener:
                self._selector.unregister(key.fileobj)
                self._mute.append(key.fileobj)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        os.write(self._wake_out, b"!")
        self._thread.join()
        sockets = [
            key.fileobj for key in self._selector.get_map().values() if isinstance(key.fileobj, socket.socket)
        ]
        for each in {*sockets, *self._mute, self._listener}:
            each.close()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)


def connected(url: str) -> socket.socket:
    """A socket to the server of a URL, to speak its protocol."""
    target = conninfo_to_dict(url)
    host, port = str(target.get("host")), int(target.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(Path(host) / f".s.PGSQL.{port}"))
    return server


def refusing_port() -> socket.socket:
    """A port of the loopback on which nobody listens, and nobody will while the socket is open."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held
