"""Between the web and a page: runs it in a thread, answers HTML or JSON, and says what is wrong in words."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from ..errors import BrokerConnectionError, PgQueueError, ReleaseOutdated, SchemaOutdated, StatementTimedOut
from ..operations.values import as_json
from .guard import is_forged
from .settings import Role

if TYPE_CHECKING:
    from starlette.requests import Request

    from .site import Site

__all__ = ["Answer", "BadRequest", "Done", "Page", "Visit", "endpoint", "failure", "not_found"]

#: The cookie that carries what an action has done to the page that comes after it, and how much fits into it.
SAID_COOKIE, MOST_SAID = "pgqueue_said", 2_500

#: The most bytes of a form: a selection of a page's ids.
LONGEST_FORM = 200_000

SPANS_S = {"5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "12h": 43_200}


class BadRequest(PgQueueError):
    """A request makes no sense; its text says what was expected."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A page: a template and what it shows, which is also what JSON shows."""

    template: str
    data: dict[str, Any]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What an action has done; the browser goes on to ``then``, a path below the dashboard's."""

    said: list[str]
    then: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request to a page."""

    site: Site
    request: Request
    form: dict[str, list[str]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The path under which the dashboard lies."""
        return str(self.request.scope.get("root_path", "")).rstrip("/")

    @property
    def path(self) -> str:
        """The page's path below it."""
        path = str(self.request.scope["path"])
        return path.removeprefix(self.base) or "/"

    @property
    def role(self) -> Role:
        """What the visitor may do."""
        return Role(self.request.state.pgqueue_role)

    @property
    def window_s(self) -> int:
        """The span of time that the visitor wants to see, in seconds."""
        return SPANS_S[self.window]

    @property
    def window(self) -> str:
        """The same, as the query has it."""
        return self.one_of("window", tuple(SPANS_S), default="15m")

    def text(self, name: str) -> str | None:
        """A parameter of the query; None if it is not there, or blank."""
        value = self.request.query_params.get(name, "").strip()
        if "\0" in value:
            raise BadRequest(f"The parameter {name!r} has a zero byte in it.")
        return value or None

    def texts(self, name: str) -> list[str]:
        """All values of a parameter."""
        return [value for value in self.request.query_params.getlist(name) if value.strip()]

    def one_of(self, name: str, known: tuple[str, ...], *, default: str) -> str:
        """A parameter with few values."""
        value = self.text(name) or default
        if value not in known:
            raise BadRequest(f"{name} is {value!r}: expected one of {', '.join(known)}.")
        return value

    def field(self, name: str) -> str | None:
        """A field of the form."""
        value = self.form.get(name, [""])[-1].strip()
        if "\0" in value:
            raise BadRequest(f"The field {name!r} has a zero byte in it.")
        return value or None

    def link(self, path: str, **parameters: object) -> str:
        """The address of a page."""
        given = {
            name: value for name, value in parameters.items() if value is not None and value not in ("", [])
        }
        query = urlencode(given, doseq=True)
        return f"{self.base}{path}" + (f"?{query}" if query else "")


Page = Callable[[Visit], Answer | Done]
Handler = Callable[["Request"], Awaitable[Response]]


def endpoint(site: Site, page: Page, *, acts: bool = False, fit: bool = True) -> Handler:
    """The handler of a page, or of an action, which only operators may call and no other site may forge.

    Parameters:
      fit: Whether it needs a schema that this release works on.
    """

    async def handle(request: Request) -> Response:
        form = await _form(request) if acts else {}
        visit = Visit(site, request, form or {})
        return await run_in_threadpool(_answer, visit, page, form, acts=acts, fit=fit)

    return handle


def _answer(
    visit: Visit, page: Page, form: dict[str, list[str]] | None, *, acts: bool, fit: bool
) -> Response:
    try:
        if form is None:
            return _problem(
                visit, 413, "The form is too large: choose fewer messages, or act on all that match."
            )
        if acts and (refusal := _refusal(visit)) is not None:
            return refusal
        if fit:
            visit.site.check_schema()
        answer = page(visit)
    except PgQueueError as error:
        return _problem(visit, 503 if _is_down(error) else 400, str(error))
    if isinstance(answer, Done):
        return _went_on(visit, answer)
    return _respond(visit, answer)


def _refusal(visit: Visit) -> Response | None:
    if visit.role is not Role.OPERATOR:
        why = "is read-only" if visit.site.settings.read_only else "lets you look, not act"
        return _problem(visit, 403, f"This dashboard {why}.")
    if is_forged(visit.request, visit.field("token")):
        return _problem(
            visit,
            403,
            "This request did not come from a page of the dashboard: reload the page, and act again.",
        )
    return None


def _is_down(error: PgQueueError) -> bool:
    return isinstance(error, (BrokerConnectionError, ReleaseOutdated, SchemaOutdated, StatementTimedOut))


async def _form(request: Request) -> dict[str, list[str]] | None:
    """The fields of a form; None if it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_FORM:
            return None
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)


# ── Answers ───────────────────────────────────────────────────────────────────────────────────────


def wants_json(request: Request) -> bool:
    """Whether a program asks: by ``.json`` or by its Accept header."""
    if str(request.scope["path"]).endswith(".json"):
        return True
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


def _respond(visit: Visit, answer: Answer) -> Response:
    if wants_json(visit.request):
        return _json(answer.data, answer.status)
    said = _said(visit.request)
    context = {**answer.data, **_surroundings(visit), "said": said}
    # Lone surrogates, which no encoding has, come in with messages.
    page = visit.site.render(answer.template, context).encode("utf-8", "backslashreplace")
    response = Response(page, status_code=answer.status, media_type="text/html")
    if said:
        response.delete_cookie(SAID_COOKIE, path=visit.base or "/")
    return response


def _json(data: dict[str, Any], status: int = 200) -> Response:
    return Response(as_json(data), status_code=status, media_type="application/json")


def _surroundings(visit: Visit) -> dict[str, Any]:
    """What every template may use."""
    theme = visit.request.cookies.get("pgqueue_theme", "")
    # Not of request.url, which can't be read where the Host header is nonsense.
    query = visit.request.scope["query_string"].decode("latin-1")
    return {
        "base": visit.base,
        "here": visit.path,
        # Quoted, and with one slash before it: a path like //other.example or /\other.example would be another host's.
        "current": "/" + quote(visit.base + visit.path).lstrip("/") + (f"?{query}" if query else ""),
        "link": visit.link,
        "operator": visit.role is Role.OPERATOR,
        "theme": theme if theme in {"dark", "light"} else "",
        "token": visit.request.state.pgqueue_token,
        "where": visit.site.database.describe(),
        "window": visit.window if visit.request.query_params.get("window") in SPANS_S else "15m",
        "windows": list(SPANS_S),
    }


def _went_on(visit: Visit, done: Done) -> Response:
    if wants_json(visit.request):
        return _json({"said": done.said, **done.data})
    response = RedirectResponse(visit.base + done.then, status_code=303)
    text = json.dumps(done.said)
    if len(text) > MOST_SAID:
        text = json.dumps([done.said[0][: MOST_SAID // 2], f"… and {len(done.said) - 1} more."])
    response.set_cookie(
        SAID_COOKIE, urlsafe_b64encode(text.encode()).decode(), max_age=60, path=visit.base or "/",
        httponly=True, samesite="strict",
    )  # fmt: skip
    return response


def _said(request: Request) -> list[str]:
    """What the action before has done."""
    try:
        said = json.loads(urlsafe_b64decode(request.cookies.get(SAID_COOKIE, "")))
    except (ValueError, RecursionError):
        return []
    return [text for text in said if isinstance(text, str)] if isinstance(said, list) else []


def _problem(visit: Visit, status: int, text: str) -> Response:
    return _respond(visit, Answer("problem.html", {"status": status, "problem": text}, status))


def back_to(visit: Visit, default: str) -> str:
    """The page below the dashboard's path that a form names; never one elsewhere."""
    given = visit.field("back") or ""
    try:
        parts = urlsplit(given)
    except ValueError:
        return default
    base = next((base for base in (quote(visit.base), visit.base) if given.startswith(f"{base}/")), None)
    if base is None or parts.scheme or parts.netloc or "\\" in given:
        return default
    path = given[len(base) :]
    return default if path.startswith("//") or any(ord(letter) < 32 for letter in path) else path


def not_found(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The answer to an address that is none."""

    async def handle(request: Request, _: Exception) -> Response:
        visit = Visit(site, request)
        return await run_in_threadpool(_problem, visit, 404, f"There is no page {visit.path}.")

    return handle


def failure(site: Site) -> Callable[[Request, Exception], Awaitable[Response]]:
    """The answer to a fault of ours; the server logs it."""

    async def handle(request: Request, error: Exception) -> Response:
        text = f"The page failed with {type(error).__name__}; the log of the dashboard has more."
        return await run_in_threadpool(_problem, Visit(site, request), 500, text)

    return handle
