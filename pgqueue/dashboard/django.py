"""The dashboard inside a Django project: ``path("queues/", include(urls()))`` in its ``urls.py``.

A view hands each request to the ASGI application, under WSGI and ASGI alike. Whoever Django knows as a superuser is an
operator and its staff are viewers, unless the project's own function says otherwise.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from .application import asgi
from .settings import Role

try:
    from asgiref.sync import async_to_sync
    from django.core.exceptions import ImproperlyConfigured
    from django.http import HttpRequest, HttpResponse
    from django.urls import re_path
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"asgiref", "django"}:
        raise
    raise MissingExtra("django", "The dashboard in Django") from error

from .._registry import get_broker

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["urls"]

RoleOf = Callable[[HttpRequest], "Role | str | None"]

#: Where a request's role stands in the scope: it is asked for in Django's own thread, which has its connections.
ROLE = "pgqueue.dashboard.role"


def urls(target: Any = None, *, role: RoleOf | None = None, **options: Any) -> list[Any]:
    """Patterns for ``include``.

    Parameters:
      target: A broker or a database URL; the process's broker unless given.
      role: Asked with Django's request who somebody is: ``"operator"``, ``"viewer"`` or None: nobody who may come in.
      options: Others of `asgi`: ``read_only``, ``redact``.
    """
    mounted = _Mounted(target, options)
    role_of = role or _role_by_django

    def dashboard(request: HttpRequest, rest: str) -> HttpResponse:
        return mounted.answer(request, rest, role_of(request))

    # Its forms have a token of the dashboard's own, which Django knows nothing of.
    dashboard.csrf_exempt = True  # type: ignore[attr-defined]
    return [re_path(r"^(?P<rest>.*)$", dashboard, name="pgqueue-dashboard")]


def _role_by_django(request: HttpRequest) -> Role | None:
    user = getattr(request, "user", None)
    if user is None:
        raise ImproperlyConfigured(
            "The dashboard asks request.user who may come in: add django.contrib.auth's AuthenticationMiddleware to "
            "MIDDLEWARE, or pass urls(role=a function of the request that answers 'operator', 'viewer' or None)."
        )
    if not user.is_active:
        return None
    return Role.OPERATOR if user.is_superuser else Role.VIEWER if user.is_staff else None


class _Mounted:
    """The application, made at the first request: each process has its own connections."""

    def __init__(self, target: Any, options: dict[str, Any]) -> None:
        self._target = target
        self._options = options
        self._made: dict[int, ASGIApp] = {}
        self._lock = threading.Lock()

    def answer(self, request: HttpRequest, rest: str, role: Role | str | None) -> HttpResponse:
        """Hand a request on to the application, and its answer back."""
        scope = _scope(request, rest, role)
        status, headers, body = async_to_sync(_call)(self._app(), scope, request.body)
        response = HttpResponse(body, status=status)
        for name, value in headers:
            if name == "set-cookie":
                response.cookies.load(value)
            elif name != "content-length":
                response[name] = value
        return response

    def _app(self) -> ASGIApp:
        with self._lock:
            if os.getpid() not in self._made:
                self._made.clear()
                target: Any = get_broker() if self._target is None else self._target
                self._made[os.getpid()] = asgi(
                    target, role=lambda request: request.scope[ROLE], **self._options
                )
            return self._made[os.getpid()]


def _scope(request: HttpRequest, rest: str, role: Role | str | None) -> dict[str, Any]:
    """A request as ASGI has it."""
    host, port = request.get_host(), request.get_port()
    headers = request.headers.items()
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method or "GET",
        "scheme": request.scheme or "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": request.path.removesuffix(rest).rstrip("/"),
        "query_string": request.META.get("QUERY_STRING", "").encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers],
        "server": (host.rpartition(":")[0] or host, int(port) if port.isdecimal() else None),
        "client": None,
        "state": {},
        ROLE: role,
    }


async def _call(app: ASGIApp, scope: dict[str, Any], body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Call the application once, and gather its answer."""
    parts: list[bytes] = []
    start: MutableMapping[str, Any] = {}
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        return asked.pop() if asked else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
    return start["status"], headers, b"".join(parts)
