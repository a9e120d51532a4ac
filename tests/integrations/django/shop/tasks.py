"""The shop's actors, found by their module's name."""

from typing import Any

import django
from django.apps import apps
from django.db import transaction

import pgqueue

if django.VERSION < (6,):
    from django_tasks import TaskContext, task
else:
    from django.tasks import TaskContext, task


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


#: The numbers of the orders whose payment has committed.
heard: list[int] = []


@pgqueue.actor(transactional=True)
def pay(number: int) -> None:
    apps.get_model("shop", "Order").objects.create(number=number)
    transaction.on_commit(lambda: heard.append(number))
    pgqueue.current_transaction().connection.execute("SELECT count(*) FROM shop_order")
    ship.send(number)
    if number < 0:
        raise RuntimeError(number)


@task()
def add(one: int, other: int = 0) -> int:
    return one + other


@task(priority=10, queue_name="slow")
def urgent() -> None:
    return None


@task()
async def later(text: str) -> dict[str, Any]:
    return {"text": text, "items": (1, 2)}


@task(takes_context=True)
def introduce(context: TaskContext) -> list[Any]:
    result = context.task_result
    return [result.id, str(result.status), context.attempt, len(result.worker_ids)]


@task()
def fail(text: str) -> None:
    raise LookupError(text)


@task()
def give_what_json_lacks() -> object:
    return object()


#: The numbers of the attempts that have failed.
attempts: list[int] = []


@task(backend="persistent", takes_context=True)
def succeed_at_third(context: TaskContext) -> int:
    if context.attempt < 3:
        attempts.append(context.attempt)
        raise ConnectionError("not yet")
    return int(context.attempt)


@task()
def place(number: int) -> None:
    apps.get_model("shop", "Order").objects.create(number=number)
