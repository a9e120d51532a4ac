"""The actors: workers find them in every app's ``tasks.py``."""

from django.apps import apps

import pgqueue


@pgqueue.actor
def ship(number: int) -> None:
    """Runs in a worker."""
    apps.get_model("orders", "Order").objects.filter(pk=number).update(shipped=True)
