"""The queues' servers: a database of the one PostgreSQL, or a Redis or RabbitMQ on loopback, gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from ..ending import end_group
from .peer import Unavailable

__all__ = ["Services", "require", "version"]

#: Seconds for a server to answer.
START_S = 60.0

#: Where Debian keeps the server's own script; the one on the path wants to change the user.
_OWN_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

#: The programs of each server, and what installs them.
_PROGRAMS = {
    "postgres": (),
    "redis": (("redis-server", "apt-get install redis-server"),),
    "rabbitmq": (
        ("rabbitmq-server", "apt-get install rabbitmq-server"),
        ("epmd", "apt-get install rabbitmq-server"),
    ),
}


class Services:
    """Starts servers; several may run at a time.

    Parameters:
      url: The PostgreSQL server, on which databases are made and dropped.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count(1)
        self._start = {"postgres": self._database, "redis": _redis, "rabbitmq": _rabbitmq}

    @contextlib.contextmanager
    def start(self, service: str) -> Iterator[str]:
        """Start one and give its URL; it is gone afterwards.

        Raises:
          Unavailable: Its program is not there, or doesn't start.
        """
        with self._start[service]() as url:
            yield url

    @contextlib.contextmanager
    def _database(self) -> Iterator[str]:
        name = f"pgqueue_peers_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(f'CREATE DATABASE "{name}"')
        try:
            yield urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))
        finally:
            with psycopg.connect(self._url, autocommit=True) as conn:
                conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def require(service: str) -> None:
    """Look whether a server's programs are here.

    Raises:
      Unavailable: One is missing; the text names it and how to install it.
    """
    for program, install in _PROGRAMS[service]:
        _find(program, install)


def version(service: str, url: str) -> str:
    """What a server calls itself.

    Parameters:
      url: That of PostgreSQL.
    """
    if service == "postgres":
        with psycopg.connect(url, autocommit=True) as conn:
            row = conn.execute("SHOW server_version").fetchone()
            return f"PostgreSQL {row[0]}" if row else "PostgreSQL"
    if service == "redis":
        return _said(["redis-server", "--version"], r"v=([\d.]+)", "Redis")
    return _said(["dpkg-query", "-W", "rabbitmq-server"], r"\s([\d.]+)", "RabbitMQ")


def _said(command: list[str], pattern: str, name: str) -> str:
    """A server's name with the version that a command tells, where there is such a command."""
    if shutil.which(command[0]) is None:
        return name
    found = re.search(pattern, subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    return f"{name} {found[1]}" if found else name


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    require("redis")
    port = _free_port()
    with _directory() as directory:
        words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "everysec"]
        with _running(["redis-server", *words, *durable], directory, {}, lambda: _redis_answers(port)):
            yield f"redis://127.0.0.1:{port}/0"


def _redis_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1) as conn:
        conn.sendall(b"PING\r\n")
        return conn.recv(16).startswith(b"+PONG")


@contextlib.contextmanager
def _rabbitmq() -> Iterator[str]:
    require("rabbitmq")
    program = str(_OWN_RABBITMQ) if _OWN_RABBITMQ.exists() else "rabbitmq-server"
    port, nodes, mapper = _free_port(), _free_port(), _free_port()
    with _directory() as directory:
        config = Path(directory, "rabbitmq.conf")
        config.write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
        Path(directory, "plugins").write_text("[].")
        environment = {
            "HOME": directory,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_DIST_PORT": str(nodes),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(Path(directory, "plugins")),
            "RABBITMQ_LOG_BASE": directory,
            "RABBITMQ_MNESIA_BASE": directory,
            "RABBITMQ_NODENAME": f"peers-{port}@localhost",
            "RABBITMQ_PID_FILE": str(Path(directory, "pid")),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
        }
        # Started by Erlang it would be left behind.
        mapping = ["epmd", "-port", str(mapper), "-address", "127.0.0.1"]
        with (
            _running(mapping, directory, {"HOME": directory}, lambda: _listens(mapper)),
            _running([program], directory, environment, lambda: _amqp_answers(port)),
        ):
            yield f"amqp://guest:guest@127.0.0.1:{port}"


def _amqp_answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as conn:
        conn.sendall(b"AMQP\x00\x00\x09\x01")
        return bool(conn.recv(8))


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def _find(program: str, install: str) -> None:
    if shutil.which(program) is None:
        raise Unavailable(f"{program} was not found: {install} (Debian, Ubuntu)")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def _directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="pgqueue-peers-", ignore_cleanup_errors=True) as directory:
        yield directory


@contextlib.contextmanager
def _running(
    command: list[str], directory: str, environment: dict[str, str], answers: Callable[[], bool]
) -> Iterator[None]:
    """Run a server until the block ends, once it answers."""
    log = Path(directory, f"{Path(command[0]).name}.out")
    with log.open("wb") as out:
        program = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=directory,
            start_new_session=True,
        )
    try:
        _wait(program, answers, log)
        yield
    finally:
        end_group(program)


def _wait(program: subprocess.Popen[bytes], answers: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and program.poll() is None:
        with contextlib.suppress(OSError):
            if answers():
                return
        time.sleep(0.1)
    said = " ".join(log.read_text(errors="replace").split())[-300:]
    raise Unavailable(f"{log.stem} did not start: {said or 'it said nothing'}")
