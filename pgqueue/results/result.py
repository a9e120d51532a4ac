"""How results look in a backend: a success is the value itself, a failure a marked dict."""

from __future__ import annotations

from typing import Any

from pgqueue.common import error_text
from pgqueue.errors import ResultFailure

__all__ = ["unwrap_result", "wrap_exception", "wrap_result"]

#: Under this key a dict says what it is.
TYPE_KEY = "__t"

#: What the dict of a failure says there. No actor should return a dict that says it, too.
FAILURE_TYPE = "pgqueue.results.Result"


def wrap_result(result: Any) -> Any:
    """Return what is stored for a success: the value as it is."""
    return result


def wrap_exception(exception: BaseException) -> dict[str, Any]:
    """Return what is stored for a failure."""
    failure = {"type": type(exception).__name__, "msg": error_text(exception)}
    return {TYPE_KEY: FAILURE_TYPE, "exn": failure}


def unwrap_result(res: Any) -> Any:
    """Return the value that was stored.

    Raises:
      ResultFailure: What was stored is a failure.
    """
    if isinstance(res, dict) and res.get(TYPE_KEY) == FAILURE_TYPE:
        failure = res.get("exn")
        if failure:
            kind, text = failure["type"], failure["msg"]
            raise ResultFailure(f"actor raised {kind}: {text}", orig_exc_type=kind, orig_exc_msg=text)
    return res
