"""The Django app: sees to it that actors find their broker, and that workers find the actors."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

from ..._registry import get_broker, set_default_factory
from ...transactions import register_ambient
from .broker import make_broker
from .conf import read
from .transactions import open_transaction

__all__ = ["PgQueueConfig"]


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
        get_broker()
        autodiscover_modules(*read().autodiscover)
