"""Middleware that tells what was called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pgqueue import Broker, Message, Middleware


class Recorder(Middleware):
    """Notes the hooks that it defines, in a list that several can share."""

    def __init__(self, name: str = "", calls: list[Any] | None = None) -> None:
        self.name = name
        self.calls = [] if calls is None else calls

    @property
    def actor_options(self) -> set[str]:
        return {f"option{self.name}"}

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        self.calls.append((self.name, "before_enqueue"))

    def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        self.calls.append((self.name, "after_enqueue"))

    def after_declare_actor(self, broker: Broker, actor: Any) -> None:
        self.calls.append((self.name, "after_declare_actor", actor.actor_name))

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        self.calls.append((self.name, "after_declare_queue", queue_name))

    def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
        self.calls.append((self.name, "after_declare_delay_queue", queue_name))


class Second(Recorder):
    """One more type."""


def raising(error: BaseException) -> Callable[..., None]:
    def hook(*args: Any, **kwargs: Any) -> None:
        raise error

    return hook


def message(*args: Any) -> Message[Any]:
    return Message("default", "add", args, {}, {})
