"""A small shop's actors, for pictures: some are slow, some fail, some are tried again."""

from __future__ import annotations

import random
import time

import pgqueue

__all__ = ["traffic"]

CHANCE = random.Random()  # noqa: S311 - for pictures

#: How often each actor is sent to, a second.
RATES = {
    "send_mail": 9.0,
    "resize_image": 4.0,
    "charge_card": 1.5,
    "export_orders": 0.1,
    "build_report": 0.3,
}


@pgqueue.actor(queue_name="mail", max_retries=2, min_backoff=20_000)
def send_mail(address: str, template: str = "order confirmed") -> None:
    """Takes some ten milliseconds; one in sixty is refused."""
    time.sleep(CHANCE.uniform(0.005, 0.04))
    if CHANCE.random() < 0.016:
        raise ConnectionError(f"smtp.example.com refused the connection for {address}")


@pgqueue.actor(queue_name="images", max_retries=0)
def resize_image(path: str, width: int) -> None:
    """Takes a tenth of a second; some pictures are broken."""
    time.sleep(CHANCE.uniform(0.04, 0.2))
    if CHANCE.random() < 0.02:
        raise ValueError(f"{path} is no JPEG file")


@pgqueue.actor(queue_name="billing", priority=-10, max_retries=1, min_backoff=200, max_backoff=400)
def charge_card(order: int, cents: int) -> None:
    """Some cards are declined, also at the second time."""
    time.sleep(CHANCE.uniform(0.02, 0.08))
    if CHANCE.random() < 0.15:
        raise PermissionError(f"the card of order {order} was declined")


@pgqueue.actor(queue_name="exports")
def export_orders(day: str) -> None:
    """Its queue is paused in the pictures."""
    print(day)


@pgqueue.actor(queue_name="reports")
def build_report(month: str) -> None:
    """Takes so long that it is seen while it runs; its queue has a limit."""
    print(month)
    time.sleep(CHANCE.uniform(8.0, 20.0))


def traffic(seconds: float, step_s: float = 0.5) -> None:
    """Send to all of them for so long."""
    until = time.monotonic() + seconds
    number = 4_000
    while time.monotonic() < until:
        for name, rate in RATES.items():
            for _ in range(int(rate * step_s + CHANCE.random())):
                number += 1
                _send(name, number)
        time.sleep(step_s)


def _send(name: str, number: int) -> None:
    day = f"2026-11-{number % 28 + 1:02}"
    if name == "send_mail":
        delay = 3_600_000 if number % 40 == 0 else None
        send_mail.send_with_options(args=(f"user{number}@example.com",), delay=delay)
    elif name == "resize_image":
        resize_image.send(f"/photos/{number}.jpg", width=1280)
    elif name == "charge_card":
        charge_card.send(number, 1999)
    elif name == "export_orders":
        export_orders.send(day)
    else:
        build_report.send(day[:7])
