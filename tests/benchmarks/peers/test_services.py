from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from benchmarks.peers import services
from benchmarks.peers.peer import Unavailable
from benchmarks.peers.services import Services, require
from tests.support.eventually import eventually


def test_a_server_whose_program_is_missing_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    require("postgres")
    with pytest.raises(Unavailable, match=r"redis-server was not found: apt-get install redis-server"):
        require("redis")
    with pytest.raises(Unavailable, match=r"rabbitmq-server was not found"), Services("").start("rabbitmq"):
        pass


def test_a_server_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo the disk is full; exit 3"]
    with (
        pytest.raises(Unavailable, match="sh did not start: the disk is full"),
        services._running(command, str(tmp_path), {}, lambda: False),
    ):
        pass


def test_a_database_is_dropped_though_somebody_is_connected(database_url: str) -> None:
    with Services(database_url).start("postgres") as url:
        left = psycopg.connect(url)
        name = urlsplit(url).path.removeprefix("/")
    left.close()
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone() == (0,)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("service", ["redis", pytest.param("rabbitmq", marks=pytest.mark.long)])
def test_a_server_answers_on_loopback_and_is_gone_afterwards(service: str) -> None:
    program = f"{service}-server"
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}: apt-get install {program}")
    with Services("").start(service) as url:
        place = urlsplit(url)
        assert place.hostname == "127.0.0.1"
        assert place.port is not None
        socket.create_connection((place.hostname, place.port), timeout=10).close()

    def gone() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection((place.hostname, place.port), timeout=10).close()
            raise AssertionError(f"something listens at {url}")

    eventually(gone, within_s=30.0)
