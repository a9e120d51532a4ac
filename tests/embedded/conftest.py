"""Directories for bundled servers: initdb runs once, each test gets a copy."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgqueue import embedded
from tests.support.postgres import quick_directory

from .support import OrdinaryUser, wait_for_the_end


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty place of the test's own; servers in it have ended when it is removed."""
    directory = Path(tempfile.mkdtemp(prefix="pgq-", dir=quick_directory())).resolve()
    yield directory
    for locks in directory.glob("**/locks"):
        wait_for_the_end(locks.parent)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def initialised_directory() -> Iterator[Path]:
    """The directory of a server that has been started and stopped once."""
    directory = Path(tempfile.mkdtemp(prefix="pgq-", dir=quick_directory())).resolve()
    embedded.start(directory, durable=False).release()
    wait_for_the_end(directory)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def server_directory(place: Path, initialised_directory: Path) -> Path:
    """A server's directory, ready to be started."""
    directory = place / "server"
    subprocess.run(["/bin/cp", "-a", os.fspath(initialised_directory), os.fspath(directory)], check=True)
    return directory


@pytest.fixture
def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def ordinary_user() -> OrdinaryUser:
    """Somebody else than root, to run programs as."""
    found = OrdinaryUser.find() if os.geteuid() == 0 else None
    if found is None:
        pytest.skip(
            "needs root, and an interpreter and a checkout that others can read; as a user, all tests show it"
        )
    return found
