"""PgBouncer before the tests' server, where the program is installed."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from .eventually import eventually

__all__ = ["pgbouncer"]

INI = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {directory}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 50
logfile = {directory}/log
pidfile = {directory}/pid
"""


@contextmanager
def pgbouncer(url: str, *, mode: str = "transaction") -> Iterator[str]:
    """A pooler before the server of ``url``; gives the URL that leads through it.

    In transaction mode it has two connections, in session mode one for each of twenty clients.

    The test is skipped where there is no PgBouncer.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs PgBouncer: apt-get install pgbouncer")
    given = conninfo_to_dict(url)
    with tempfile.TemporaryDirectory(prefix="pgqb-") as directory:
        ini = Path(directory) / "pgbouncer.ini"
        user = str(given.get("user") or pwd.getpwuid(os.getuid()).pw_name)
        ini.write_text(
            INI.format(
                host=given.get("host"),
                port=given.get("port", 5432),
                user=user,
                directory=directory,
                mode=mode,
                size=2 if mode == "transaction" else 20,
            )
        )
        # It refuses to run as root.
        account = ["-u", "nobody"] if os.getuid() == 0 else []
        if account:
            Path(directory).chmod(0o777)
        through = make_conninfo(url, host=directory, port=6432, user=user)
        process = subprocess.Popen([program, "-q", *account, str(ini)])
        try:
            eventually(lambda: _answers(through), within_s=10.0)
            yield through
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _answers(url: str) -> None:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        raise AssertionError(str(error)) from error
