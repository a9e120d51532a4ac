"""Web applications on a port of this machine, served from a thread of the test."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn

from .eventually import eventually

__all__ = ["served"]


@contextmanager
def served(app: Any, *, interface: Any = "asgi3", root_path: str = "") -> Iterator[str]:
    """Serve an application meanwhile; give its address."""
    config = uvicorn.Config(
        app, interface=interface, root_path=root_path, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )  # fmt: skip
    server = uvicorn.Server(config)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            eventually(lambda: _assert(server.started))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _assert(fact: object) -> None:
    assert fact
