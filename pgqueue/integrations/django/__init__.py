"""pgqueue as a Django app: ``INSTALLED_APPS = [..., "pgqueue.integrations.django"]`` and the setting ``PGQUEUE``."""

from ...errors import MissingExtra

try:
    import django
except ImportError as error:
    raise MissingExtra("django", "pgqueue.integrations.django") from error

__all__ = ["setup"]


def setup() -> None:
    """Set Django up as ``manage.py`` does: for ``pgqueue pgqueue.integrations.django:setup``, which runs workers.

    The environment's ``DJANGO_SETTINGS_MODULE`` says with which settings.
    """
    django.setup()
