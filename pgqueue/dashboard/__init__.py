"""The dashboard: what is going on, why a message has not run, and the buttons that put it right, in a browser.

`asgi` and `wsgi` make an application that any other takes under any path; ``pgqueue dashboard`` runs it by itself.
Needs the extra ``dashboard``.
"""

from ..errors import MissingExtra

try:
    from .application import asgi, wsgi
    from .settings import Role
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"a2wsgi", "jinja2", "starlette"}:
        raise
    raise MissingExtra("dashboard", "The dashboard") from error

__all__ = ["Role", "asgi", "wsgi"]
