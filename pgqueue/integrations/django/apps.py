"""The Django app: sees to it that actors find their broker, and that workers find the actors."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from ..._registry import get_broker, set_default_factory
from ...transactions import register_ambient
from .broker import make_broker
from .conf import read
from .transactions import DjangoBroker, close_before_destroying, open_transaction

__all__ = ["PgQueueConfig"]

PACKAGE = __package__


class PgQueueConfig(AppConfig):
    """Makes the broker out of the setting ``PGQUEUE``, and imports the ``tasks`` of all installed apps."""

    name = "pgqueue.integrations.django"
    label = "pgqueue"
    verbose_name = "pgqueue"

    def __init__(self, app_name: str, app_module: object) -> None:
        super().__init__(app_name, app_module)
        # Before any model is imported: a module of models may import actors.
        set_default_factory(make_broker)
        register_ambient(open_transaction)

    def ready(self) -> None:
        """Import the modules that define actors."""
        broker = get_broker()
        if isinstance(broker, DjangoBroker) and broker.alias is not None:
            close_before_destroying(broker, broker.alias)
        autodiscover_modules(*read().autodiscover)
        if any(str(backend.get("BACKEND", "")).startswith(PACKAGE) for backend in _task_backends()):
            # Imported here: Django has Tasks from release 6 on only.
            from .task_backend import declare_all  # noqa: PLC0415

            declare_all()


def _task_backends() -> Iterable[Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = getattr(settings, "TASKS", {})
    return found.values()
