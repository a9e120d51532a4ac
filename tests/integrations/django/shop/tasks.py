"""The shop's actors, found by their module's name."""

from django.apps import apps

import pgqueue


@pgqueue.actor
def ship(number: int) -> None:
    orders = apps.get_model("shop", "Order").objects.filter(number=number)
    if not orders.update(shipped=True):
        raise LookupError(f"There is no order {number}.")


@pgqueue.actor(store_results=True)
def double(number: int) -> int:
    return 2 * number


@pgqueue.actor(queue_name="mail")
def thank(number: int) -> None:
    double.send(number)
