from __future__ import annotations

from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.errors import SkipMessage
from pgqueue.middleware import Middleware

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, join


class HookSpy(Middleware):
    """Writes down the hooks of messages."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_process_message")
        if message.args == ("skip",):
            raise SkipMessage("by name")
        if message.args == ("fail quietly",):
            message.fail()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self.calls.append(f"after_process_message({result}, {type(exception).__name__})")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_skip_message")

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_ack")

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_ack")

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_nack")

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_nack")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("return", ["actor", "after_process_message(7, NoneType)", "before_ack", "after_ack"]),
        ("raise", ["actor", "after_process_message(None, RuntimeError)", "before_nack", "after_nack"]),
        ("skip", ["after_skip_message", "before_ack", "after_ack"]),
        ("fail quietly", ["after_process_message(None, NoneType)", "before_nack", "after_nack"]),
    ],
)
def test_the_hooks_of_a_message_come_in_their_order(
    broker: Broker, worker_for: WorkerFor, order: str, expected: list[str]
) -> None:
    spy = HookSpy()
    broker.add_middleware(spy)

    @actor(broker=broker, max_retries=0, pipe_ignore=True)
    def work(order: str) -> int:
        spy.calls.append("actor")
        if order == "raise":
            raise RuntimeError("as told")
        return 7

    worker_for(broker)
    work.send(order)
    join(broker)
    eventually(lambda: assert_equal(spy.calls, ["before_process_message", *expected]))


def test_a_message_ends_with_a_result_or_with_an_exception(broker: Broker, worker_for: WorkerFor) -> None:
    """As in Dramatiq, a hook that takes any keywords is given the one that there is."""
    outcomes: list[list[str]] = []

    class Keywords(Middleware):
        def after_process_message(self, broker: Broker, message: MessageProxy, **outcome: Any) -> None:
            outcomes.append(list(outcome))

    broker.add_middleware(Keywords())

    @actor(broker=broker, max_retries=0)
    def work(fails: bool) -> None:
        if fails:
            raise RuntimeError("as told")

    worker_for(broker, worker_threads=1)
    work.send(False)
    work.send(True)
    join(broker)
    eventually(lambda: assert_equal(outcomes, [["result"], ["exception"]]))
