"""What an ``embedded:`` URL means: which directory, and whether a TCP port is wanted as well."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from ..errors import EmbeddedServerError, MissingExtra
from .binaries import ROOT_DIRECTORY

__all__ = ["Location", "is_embedded_url"]

_SCHEME = "embedded:"


def is_embedded_url(url: str) -> bool:
    """Whether a database URL asks for the bundled server."""
    return url.startswith(_SCHEME)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a bundled server keeps its files.

    Parameters:
      port: A port on 127.0.0.1 to listen on besides the socket; None for the socket alone.
    """

    directory: Path
    port: int | None = None

    @classmethod
    def parse(cls, text: str | Path) -> "Location":
        """Read ``embedded:``, ``embedded:/dir``, ``embedded:/dir?port=5433``, or a plain directory.

        Raises:
          EmbeddedServerError: It is none of these.
        """
        if isinstance(text, Path) or not is_embedded_url(text):
            return cls(_absolute(str(text)))
        path, _, query = text.removeprefix(_SCHEME).partition("?")
        if path.startswith("//"):
            path = _without_authority(text, path)
        return cls(_absolute(path) if path else default_directory(), _port(text, query))


def default_directory() -> Path:
    """Return the server directory of the current user: in the user's data directory, for root /var/lib.

    The version of PostgreSQL isn't part of it: after an update to another major version the queue must
    not look empty, it must say what is to be done.
    """
    if os.geteuid() == 0:
        return ROOT_DIRECTORY / "embedded"
    try:
        from platformdirs import user_data_path  # noqa: PLC0415 - comes with the extra
    except ImportError as error:
        raise MissingExtra("embedded", "The bundled PostgreSQL server") from error
    return (user_data_path("pgqueue", appauthor=False) / "embedded").resolve()  # it may lie on another disk


def _absolute(path: str) -> Path:
    return Path(path).expanduser().resolve()


def _without_authority(url: str, path: str) -> str:
    rest = path.removeprefix("//")
    if not rest.startswith("/"):
        message = f"{url} names a host; the bundled server takes a directory: embedded:/directory"
        raise EmbeddedServerError(message)
    return rest


def _port(url: str, query: str) -> int | None:
    options = dict(parse_qsl(query, keep_blank_values=True))
    text = options.pop("port", None)
    if options or (text is not None and not (text.isdecimal() and 0 < int(text) < 65536)):
        message = f"{url}: the only option is a port between 1 and 65535, as in embedded:/directory?port=5433"
        raise EmbeddedServerError(message)
    return None if text is None else int(text)


def require_posix() -> None:
    """Refuse systems whose file locks and process groups this package doesn't speak.

    Raises:
      EmbeddedServerError: This is Windows.
    """
    if sys.platform == "win32":
        message = (
            "The bundled server needs Linux or macOS. On Windows, name a PostgreSQL server with PGQUEUE_URL."
        )
        raise EmbeddedServerError(message)
