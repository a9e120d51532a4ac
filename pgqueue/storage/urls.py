"""The URLs of databases: read, put together from a driver's parameters, and shown without their secrets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import conninfo
from psycopg.pq import Conninfo

from ..errors import BrokerNotConfigured

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

_NO_URL = (
    "The database URL is not one: expected postgresql://user@host:port/database, libpq's key=value settings, or "
    "embedded: for the bundled server."
)

_WRITTEN = "A / in a user's name or a password is written %2F, an @ %40."

#: What is shown of a URL that is none, for nobody knows what in it is a secret.
UNREADABLE = "(a URL that can't be read)"

_MASK = "***"

#: What the URLs of libpq and SQLAlchemy begin with, the latter's with the name of a driver.
_SCHEMES = ("postgresql", "postgres")


def conninfo_of(parameters: Mapping[str, Any], given: str = "") -> str:
    """How libpq connects, out of a driver's parameters: those that only the driver knows are left out.

    Parameters:
      given: What is known besides; the parameters win.
    """
    settings_of(given)  # a password that is taken for something else would be so for good
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
      BrokerNotConfigured: It is none, or something in it can only be a part of a password. It is not quoted.
    """
    settings = _read(url)
    _check_timeout(settings.get("connect_timeout", 0))
    return settings


def _read(url: str) -> Mapping[str, Any]:
    # Without their causes, which quote what could not be read: that may be the password.
    try:
        settings = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise BrokerNotConfigured(f"{_NO_URL} {_WRITTEN}" if "@" in url else _NO_URL) from None
    except UnicodeError:
        raise BrokerNotConfigured(f"{_NO_URL} What is written with % in it must be UTF-8.") from None
    _check_places(url, settings)
    return settings


def _check_places(url: str, settings: Mapping[str, Any]) -> None:
    """Refuse what libpq takes for a host, a port or a database where a password has a / or an @ in it."""
    ports = str(settings.get("port", "")).split(",")
    if not all(port == "" or (port.isascii() and port.strip().isdigit()) for port in ports):
        raise BrokerNotConfigured(f"The database URL's port is no number. {_WRITTEN}")
    if "@" in str(settings.get("host", "")):
        raise BrokerNotConfigured(f"{_NO_URL} Its host has an @ in it. {_WRITTEN}")
    if "@" in _path(url) or "://" in str(settings.get("dbname", "")):
        raise BrokerNotConfigured(f"{_NO_URL} What stands for its database can't be one's name. {_WRITTEN}")


def _path(url: str) -> str:
    """What is written of a URL where the database's name belongs; nothing of libpq's settings."""
    before, is_url, rest = url.partition("://")
    place, _, path = rest.partition("/")
    has_path = is_url and before in _SCHEMES and "?" not in place.rpartition("@")[2]
    return path.partition("?")[0] if has_path else ""


def _check_timeout(given: Any) -> None:
    """Refuse what libpq would take to the server first, and the driver ends with."""
    try:
        float(given)
    except ValueError:
        raise BrokerNotConfigured(
            f"The database URL's connect_timeout is {given!r}: a number of seconds is expected."
        ) from None


def redacted(url: str) -> str:
    """``url`` without its secrets, in whatever form they come: made anew of what libpq reads in it."""
    if url.startswith("embedded:"):
        return url
    scheme, _, rest = url.partition("://")
    is_url = scheme.partition("+")[0] in _SCHEMES
    try:
        settings = _read(f"{_SCHEMES[0]}://{rest}" if is_url else url)
    except BrokerNotConfigured:
        return UNREADABLE
    if is_url and str(settings.get("password", "")).startswith("'"):
        return UNREADABLE  # quotes mean nothing in a URL: after an & in them another setting has begun
    secrets = _secrets()
    shown = {name: _MASK if name in secrets else str(value) for name, value in settings.items()}
    return f"{scheme}://{_rest(shown)}" if is_url else conninfo.make_conninfo(**shown)


def _secrets() -> set[str]:
    """The names of libpq's settings that must not be shown; those of files may be."""
    marked = {option.keyword.decode(): option.dispchar == b"*" for option in Conninfo.get_defaults()}
    return {name for name in marked if marked[name] or name.endswith(("password", "secret", "_key"))}


def _rest(settings: Mapping[str, str]) -> str:
    """A URL's part behind its scheme."""
    left = dict(settings)
    user = _encoded(left.pop("user", ""))
    if "password" in left:
        user += f":{left.pop('password')}"
    place = _place(left)
    path = _encoded(left.pop("dbname", ""))
    query = "&".join(f"{name}={_encoded(value, '/*:,')}" for name, value in left.items())
    return "".join([user, user and "@", place, "/", path, query and "?", query])


def _place(left: dict[str, str]) -> str:
    """Take hosts and ports out of ``left`` where they can stand before the database's name."""
    hosts, ports = (left.get(name, "").split(",") for name in ("host", "port"))
    if any(host.startswith("/") for host in hosts) or len(ports) not in {1, len(hosts)}:
        return ""
    if len(ports) == 1 < len(hosts):
        ports = ["" for _ in hosts]  # the one for all of them stays in the query
    else:
        left.pop("port", None)
    left.pop("host", None)
    names = [f"[{host}]" if ":" in host else _encoded(host) for host in hosts]
    return ",".join(f"{name}{port and ':'}{port}" for name, port in zip(names, ports, strict=True))


def _encoded(text: str, plain: str = "") -> str:
    """``text`` as it is written in a URL, with the letters of all languages left as they are."""
    plain += "-._~"
    return "".join(each if each.isalnum() or each in plain else quote(each, safe="") for each in text)
