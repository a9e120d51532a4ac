"""A health check: ``path("health/queue", health)`` in a project's ``urls.py``."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse

from ..._registry import get_broker
from ..health import check_health

__all__ = ["health"]


def health(_request: HttpRequest, *, least_workers: int = 0) -> JsonResponse:
    """Answer whether database and schema can be used, and how many workers there are: with 200 or 503.

    Parameters:
      least_workers: With fewer worker processes alive it is not ok; ``path("…", health, {"least_workers": 1})``.
    """
    found = check_health(get_broker(), least_workers=least_workers)
    return JsonResponse(found.asdict(), status=found.status_code)
