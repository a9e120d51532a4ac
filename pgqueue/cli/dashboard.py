"""``pgqueue dashboard``: see in a browser what is going on, and put it right."""

import argparse
import ipaddress
import os
import re
import socket
import sys
from contextlib import closing

from ..errors import MissingExtra, PgQueueError
from ..storage.database import Database
from .target import add_target_arguments, running, target_schema, target_url

__all__ = ["add_arguments", "run"]

#: Where it is unless told otherwise.
HOST, PORT = "127.0.0.1", 8417


class Exposed(PgQueueError):
    """Anybody who reaches the machine could act."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--host", default=HOST, help=f"address to listen on (default: {HOST}, this machine only)"
    )
    parser.add_argument(
        "--port",
        "-p",
        type=_port,
        default=PORT,
        metavar="N",
        help=f"port; 0 for a free one (default: {PORT})",
    )
    parser.add_argument(
        "--password",
        help="password of operators, asked for by the browser (better: $PGQUEUE_DASHBOARD_PASSWORD)",
    )
    parser.add_argument(
        "--viewer-password",
        help="password of those who may look, not act (better: $PGQUEUE_DASHBOARD_VIEWER_PASSWORD)",
    )
    parser.add_argument("--read-only", action="store_true", help="nobody can act")
    parser.add_argument(
        "--redact",
        action="append",
        default=[],
        metavar="ACTOR",
        help="hide arguments, results and errors of this actor (may be repeated; * stands for anything)",
    )
    parser.add_argument(
        "--root-path", default="", metavar="PATH", help="the path under which a proxy serves it"
    )
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit code."""
    password = _password(arguments.password, "PGQUEUE_DASHBOARD_PASSWORD")
    viewer_password = _password(arguments.viewer_password, "PGQUEUE_DASHBOARD_VIEWER_PASSWORD")
    guarded = password is not None or viewer_password is not None
    if not (is_loopback(arguments.host) or guarded or arguments.read_only):
        raise Exposed(
            f"{arguments.host} is open to others, who could read every message and act on it. Pass --password (or set "
            "PGQUEUE_DASHBOARD_PASSWORD), or --read-only, or leave out --host."
        )
    with running(target_url(arguments)) as url:
        plain = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", url)
        database = Database(plain, schema=target_schema(arguments), application_name="pgqueue dashboard")
        with closing(database):
            return _serve(arguments, database, password, viewer_password)


def _password(given: str | None, variable: str) -> str | None:
    """That of the command line, even if it is blank, or of the environment, where a blank one is none."""
    if given is not None:
        return given
    found = os.environ.get(variable, "")
    return found if found.strip() else None


def _serve(
    arguments: argparse.Namespace, database: Database, password: str | None, viewer_password: str | None
) -> int:
    try:
        import uvicorn  # noqa: PLC0415  # of an extra

        from ..dashboard import application  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra("dashboard", "The dashboard") from error
    guarded = password is not None or viewer_password is not None
    settings = application.settings_of(
        database,
        password=password,
        viewer_password=viewer_password,
        read_only=arguments.read_only,
        redact=arguments.redact,
        hosts=None if guarded or not is_loopback(arguments.host) else application.LOOPBACK_NAMES,
    )
    config = uvicorn.Config(
        application.application(settings),
        log_level="warning",
        access_log=False,
        lifespan="off",
        root_path=arguments.root_path.rstrip("/"),
        timeout_graceful_shutdown=3,
    )
    with closing(_listen(arguments.host, arguments.port)) as listening:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(
            f"The dashboard of {database.describe()} is at http://{shown}:{port}/ (Ctrl-C ends it)",
            flush=True,
        )
        if password is None and guarded and not arguments.read_only:
            print(
                "Only viewers have a password: nobody can act. Pass --password to let operators in.",
                file=sys.stderr,
            )
        if not guarded and not is_loopback(arguments.host):
            print("It has no password: everybody who reaches it can read every message.", file=sys.stderr)
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        raise PgQueueError(
            f"Can't listen on {host}, port {port}: {error.strerror or error}. Pass another --port, or 0 for a free one."
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected a number from 0 to 65535")
    return int(text)
