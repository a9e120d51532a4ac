"""What a broker does for those whose doings commit with an acknowledgement: results and rate limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..broker import Broker
from ..errors import BrokerConnectionError
from ..faults import Fault
from ..storage.calls import run
from ..storage.messages import Arrival, NewMessage
from ._outgoing import Encoded
from ._postgres_consumer import running_owner

if TYPE_CHECKING:
    from uuid import UUID

    from ..engine.actor_transaction import ActorTransaction
    from ..engine.settlement import OpenSettlements
    from ..message import Message
    from ..storage.calls import Call
    from ..storage.database import Connection, Database
    from ..storage.results import StoredResult
    from ..transactions import AsyncTarget, Target
    from ._sending import Sender

__all__ = ["SettlingBroker"]


class SettlingBroker(Broker):
    """A broker that collects what belongs to the end of a message. From all threads."""

    database: Database
    max_message_size: int | None
    _settlements: OpenSettlements
    _sender: Sender

    if TYPE_CHECKING:

        def _admitted_target(self) -> Target | None: ...
        async def _admitted_async_target(self) -> AsyncTarget | None: ...
        def _actor_transaction(self) -> ActorTransaction | None: ...

    def store_with_ack(self, result: StoredResult) -> bool:
        """Store a result with the ack of the message that this thread settles; False if it settles none."""
        settlement = self._settlements.current
        if settlement is None:
            return False
        settlement.add_result(result)
        return True

    def arrive_with_ack(self, key: str, ttl: int, messages: Sequence[Message[Any]]) -> bool:
        """Count a barrier down with the ack of the message that this thread settles; False if it settles none.

        Parameters:
          key: The barrier's, as the rate limits in this database store it.
          ttl: Milliseconds for which the barrier lives on.
          messages: Sent in the same commit, if it lets the last party through.
        """
        settlement = self._settlements.current
        if settlement is None:
            return False
        settlement.add_arrival(Arrival(key, ttl, lambda: self._follow_ups(messages)))
        return True

    def run_with_sends(self, call: Call) -> bool:
        """Run a statement in the application's transaction, or the body's, to which a message sent here would belong.

        Returns:
          Whether there is one. Where a message is being settled there is not: what is sent there commits with its end.
        """
        if (target := self._admitted_target()) is not None:
            self._sender.joiner.write(target, call)
        elif self._settlements.current is None and (transaction := self._actor_transaction()) is not None:
            run(transaction.connection, self.database.statements, call)
        else:
            return False
        return True

    async def run_with_sends_async(self, call: Call) -> bool:
        """The same, for a coroutine."""
        target = await self._admitted_async_target()
        if target is None:
            return (
                self._settlements.current is None
                and self._actor_transaction() is not None
                and self.run_with_sends(call)
            )
        await self._sender.joiner.write_async(target, call)
        return True

    def _follow_ups(self, messages: Sequence[Message[Any]]) -> list[NewMessage]:
        """The rows of messages that are about to be sent, with their hooks called; one that can't be is left out."""
        rows: list[NewMessage] = []
        for message in messages:
            try:
                self.emit_before("enqueue", message, None)
                rows += self._sender.rows([self._encode(message)], None)
                self.emit_after("enqueue", message, None)
            except BrokerConnectionError:
                raise
            except Exception:
                self.logger.exception("Message %s could not be sent.", message, fault=Fault.HOOK_FAILED)
        return rows

    def _check_message(self, message: Message[Any]) -> None:
        self._encode(message)

    def _encode(self, message: Message[Any]) -> Encoded:
        return Encoded(message, actors=self.actors, limit=self.max_message_size)

    def owner_of_this_run(self) -> UUID | None:
        """In whose name the message is held that runs in this context; None outside of messages."""
        return running_owner.get()

    def settlement_connection(self) -> Connection | None:
        """The connection in whose transaction the ack of this thread's message will be; None if it settles none."""
        settlement = self._settlements.current
        return None if settlement is None else settlement.connection()
