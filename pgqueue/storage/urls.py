"""The URLs of databases: read, put together from a driver's parameters, and shown without their secrets."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo
from psycopg.pq import Conninfo

from ..errors import BrokerNotConfigured

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

_NO_URL = (
    "The database URL is not one: expected postgresql://user@host:port/database, libpq's key=value settings, or "
    "embedded:"
)


def conninfo_of(parameters: Mapping[str, Any], given: str = "") -> str:
    """How libpq connects, out of a driver's parameters: those that only the driver knows are left out.

    Parameters:
      given: What is known besides; the parameters win.
    """
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return conninfo.make_conninfo(
        given, **{name: value for name, value in parameters.items() if name in known}
    )


def conninfo_of_pool(pool: "ConnectionPool[Any]") -> str:
    """How a pool connects, also where it was told so by keywords."""
    given = pool.conninfo if isinstance(pool.conninfo, str) else pool.conninfo()
    return conninfo_of(pool.kwargs() if callable(pool.kwargs) else pool.kwargs or {}, given)


def settings_of(url: str) -> Mapping[str, Any]:
    """What a URL says.

    Raises:
      BrokerNotConfigured: It is none.
    """
    # Without their causes, which quote what could not be read: that may be the password.
    try:
        settings = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise BrokerNotConfigured(_NO_URL) from None
    except UnicodeDecodeError:
        raise BrokerNotConfigured(f"{_NO_URL} What is written with % in it must be UTF-8.") from None
    if "@" in str(settings.get("host", "")):
        raise BrokerNotConfigured(f"{_NO_URL} An @ in a user's name or a password is written %40.")
    _check_timeout(settings.get("connect_timeout", 0))
    return settings


def _check_timeout(given: Any) -> None:
    """Refuse what libpq would take to the server first, and the driver ends with."""
    try:
        float(given)
    except ValueError:
        raise BrokerNotConfigured(
            f"The database URL's connect_timeout is {given!r}: a number of seconds is expected."
        ) from None


def redacted(url: str) -> str:
    """``url`` without its passwords, in whatever form they come."""
    hidden = re.sub(r"(://[^:@/]*):[^/]*@", r"\1:***@", url)
    return re.sub(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|(?:\\.|[^\s&\\])+)", r"\1***", hidden)
