"""What stands before every page: names and roles are checked, forged requests refused, browsers told to be strict."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["TOKEN_COOKIE", "Guard", "is_forged"]

#: A browser's own random word, which only our pages can repeat in a form.
TOKEN_COOKIE = "pgqueue_token"  # noqa: S105  # a name, no secret

#: Nothing of another host, nothing inline, in no frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """Lets in who may come in, with ``role`` and ``token`` in the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        strict = _strict(send)
        if (refusal := self._refusal_of_host(request)) is not None:
            await refusal(scope, receive, strict)
            return
        # Asked in a thread: a program's own function may well look into its database.
        role = await run_in_threadpool(self._settings.role, request)
        if role is None:
            await self._unauthorized()(scope, receive, strict)
            return
        state = scope.setdefault("state", {})
        state["pgqueue_role"] = role
        token = request.cookies.get(TOKEN_COOKIE)
        if token is None or not _is_long_enough(token):
            token = secrets.token_urlsafe(32)
            strict = _with_cookie(strict, token, request)
        state["pgqueue_token"] = token
        await self._app(scope, receive, strict)

    def _refusal_of_host(self, request: Request) -> Response | None:
        hosts = self._settings.hosts
        given = request.headers.get("host", "")
        name = given if given.endswith("]") else given.rpartition(":")[0] or given
        if hosts is None or name.lower() in hosts:
            return None
        return PlainTextResponse(
            f"{given!r} is no name of this dashboard, which has no password and therefore answers to "
            f"{', '.join(sorted(hosts))} only. Set a password to use it under other names.\n",
            status_code=421,
        )

    def _unauthorized(self) -> Response:
        if not self._settings.has_password:
            return PlainTextResponse("You may not see this dashboard.\n", status_code=403)
        return PlainTextResponse(
            "The dashboard has a password; any user name will do.\n",
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="pgqueue", charset="UTF-8"'},
        )


def is_forged(request: Request, token: str | None) -> bool:
    """Whether a request to act may be one that a page elsewhere has had a browser send.

    The form (or the header ``X-CSRF-Token``) repeats the cookie, which no other site can read or, with its attribute
    SameSite, have sent along. A subdomain that sets cookies for us still fails by its Origin.
    """
    cookie = request.cookies.get(TOKEN_COOKIE)
    given = token or request.headers.get("x-csrf-token")
    if not cookie or not given or not _is_long_enough(cookie):
        return True
    if not secrets.compare_digest(cookie.encode(), given.encode()):
        return True
    origin = request.headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    except ValueError:
        return True


def _is_long_enough(token: str) -> bool:
    return 20 <= len(token) <= 100


def _strict(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sent


def _with_cookie(send: Send, token: str, request: Request) -> Send:
    path = request.scope.get("root_path", "") or "/"
    secure = "; Secure" if request.scope.get("scheme") == "https" else ""
    cookie = f"{TOKEN_COOKIE}={token}; Path={path}; HttpOnly; SameSite=Strict{secure}"

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return sent
