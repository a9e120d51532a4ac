"""A TCP proxy before the tests' server that takes the server's answer and then closes the connection.

What the client has sent is done and committed then, and the client does not know.
"""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from psycopg.conninfo import make_conninfo

from .proxy import connected

__all__ = ["Swallowing"]

#: What ends an answer that leaves the session idle: all of it is committed.
READY = b"Z\0\0\0\x05I"

#: The beginning of the message of the protocol that has a prepared statement run.
RUN = b"E\0\0\0"


class Swallowing:
    """Listens on a free port of the loopback for as long as it is entered.

    Parameters:
      name: The application's name of the connections that suffer.
      share: Of how many of their statements the answer is taken, once it is `active`.

    Attributes:
      url: Leads through the proxy to the database of the URL that was given.
      active: Whether any answers are taken.
      taken: How many were.
    """

    def __init__(self, url: str, name: str, *, share: float, dice: random.Random) -> None:
        self._target = url
        self._name = b"application_name\0" + name.encode()
        self._share = share
        self._dice = dice
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(url, host="127.0.0.1", port=self._listener.getsockname()[1])
        self.active = False
        self.taken = 0

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server, marked = connected(self._target), threading.Event()
        up = threading.Thread(target=self._pass_up, args=(client, server, marked), daemon=True)
        up.start()
        with suppress(OSError):
            while (data := server.recv(65536)) and not marked.is_set():
                client.sendall(data)
            while data and not data.endswith(READY):
                data = server.recv(65536)
            self.taken += marked.is_set() and bool(data)
        _end(client, server)
        up.join()
        client.close()
        server.close()

    def _pass_up(self, client: socket.socket, server: socket.socket, marked: threading.Event) -> None:
        suffers = False
        with suppress(OSError):
            while data := client.recv(65536):
                suffers = suffers or self._name in data
                if suffers and self.active and RUN in data and self._dice.random() < self._share:
                    marked.set()
                server.sendall(data)
        _end(client, server)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._listener)
        self._listener.close()


def _end(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
