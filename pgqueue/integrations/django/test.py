"""For Django's test cases: what was sent, and running it where it was sent."""

from __future__ import annotations

from typing import Any

from django.test import TestCase, TransactionTestCase

from ..._registry import get_broker
from ...actor import Actor
from ...message import Message
from .._inline import Runner

__all__ = ["PgQueueTestCase", "PgQueueTestMixin", "PgQueueTransactionTestCase"]

AnyActor = Actor[..., Any] | str


class PgQueueTestMixin:
    """Mixed into a test case of Django's: no worker is needed, and none should run on the test database.

    In a ``TestCase`` messages are in the test's transaction, as everything else: they are seen and run before the
    rollback at its end. A ``TransactionTestCase`` begins and ends without messages.
    """

    def setUp(self) -> None:  # as unittest has it
        """Begin with the test database, and without messages of others."""
        super().setUp()  # type: ignore[misc]  # it is mixed into something that has it
        # Django has made the test database since the broker was made, perhaps one for each process.
        get_broker().close()
        if not isinstance(self, TestCase):
            self._flush()
            self.addCleanup(self._flush)  # type: ignore[attr-defined]  # likewise

    def sent_messages(self, actor: AnyActor | None = None) -> list[Message[Any]]:
        """Return the messages that wait, delayed ones last, in the order in which they would run.

        Parameters:
          actor: Only messages for this one, or for one of this name.
        """
        name = actor.actor_name if isinstance(actor, Actor) else actor
        return [message for message in Runner(get_broker()).waiting() if name in {None, message.actor_name}]

    def run_messages(self, *, delayed: bool = False) -> int:
        """Run what was sent, with all hooks, until nothing is left; return how many messages were run.

        The first attempt that fails ends it with its exception; where the message has retries left, the next one waits
        then, and is run by a further call with ``delayed``. `Retry` ends nothing.

        Parameters:
          delayed: Whether to run those that are not due yet, retries among them.
        """
        return Runner(get_broker()).run(delayed=delayed)

    def assertSent(self, actor: AnyActor, *args: Any, **kwargs: Any) -> Message[Any]:  # noqa: N802  # as unittest
        """Fail unless a message waits for this actor, with these arguments if any are given; return it."""
        messages = self.sent_messages(actor)
        for message in messages:
            if not (args or kwargs) or (message.args, message.kwargs) == (args, kwargs):
                return message
        wanted: Message[Any] = Message(
            "", actor.actor_name if isinstance(actor, Actor) else actor, args, kwargs, {}
        )
        raise self.failureException(f"{wanted} was not sent; {_listed(messages)}.")  # type: ignore[attr-defined]

    def assertNotSent(self, actor: AnyActor | None = None) -> None:  # noqa: N802  # as unittest has it
        """Fail if a message waits for this actor, or for any."""
        messages = self.sent_messages(actor)
        if messages:
            raise self.failureException(f"Nothing was to be sent, but {_listed(messages)}.")  # type: ignore[attr-defined]

    @staticmethod
    def _flush() -> None:
        get_broker().flush_all()


def _listed(messages: list[Message[Any]]) -> str:
    return f"there are {', '.join(map(str, messages))}" if messages else "there are no messages for it"


class PgQueueTestCase(PgQueueTestMixin, TestCase):
    """A ``TestCase`` that sees and runs messages."""


class PgQueueTransactionTestCase(PgQueueTestMixin, TransactionTestCase):
    """A ``TransactionTestCase`` that sees and runs messages."""
