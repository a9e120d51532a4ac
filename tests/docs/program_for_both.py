"""A program for Dramatiq that prints what it sees; a test runs it under both names and compares."""

# Dramatiq's limits have no types.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq import group, pipeline
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import compute_backoff, dq_name, q_name, xq_name
from dramatiq.middleware import AsyncIO, CurrentMessage, GroupCallbacks
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import StubBackend as Limits
from dramatiq.results import Results
from dramatiq.results.backends import StubBackend

MESSAGE_HOOKS = (
    "before_enqueue", "after_enqueue", "before_delay_message", "before_process_message",
    "after_process_message", "after_skip_message", "before_ack", "after_ack", "before_nack", "after_nack",
)  # fmt: skip

DECLARATION_HOOKS = (
    "before_declare_actor", "after_declare_actor", "before_declare_queue", "after_declare_queue",
    "after_declare_delay_queue",
)  # fmt: skip


class Hooks(dramatiq.Middleware):
    """Notes each hook of a message by the name of its actor, and each declaration."""

    def __init__(self) -> None:
        self.messages: dict[str, list[str]] = {}
        self.declarations: list[tuple[str, str]] = []


def _note_message(hook: str) -> Callable[..., None]:
    def note(
        self: Hooks, _broker: Any, message: Any, *_: Any, exception: Any = None, result: Any = None
    ) -> None:
        what = f"{hook} {type(exception).__name__}" if exception is not None else hook
        self.messages.setdefault(message.actor_name, []).append(
            what if result is None else f"{what} {result}"
        )

    return note


def _note_declaration(hook: str) -> Callable[..., None]:
    def note(self: Hooks, _broker: Any, declared: Any) -> None:
        self.declarations.append((hook, str(getattr(declared, "actor_name", declared))))

    return note


for hook in MESSAGE_HOOKS:
    setattr(Hooks, hook, _note_message(hook))
for hook in DECLARATION_HOOKS:
    setattr(Hooks, hook, _note_declaration(hook))

hooks, limits = Hooks(), Limits()
broker = StubBroker()
broker.add_middleware(Results(backend=StubBackend()))
for middleware in (CurrentMessage(), GroupCallbacks(limits), AsyncIO(), hooks):
    broker.add_middleware(middleware)
broker.emit_after("process_boot")
dramatiq.set_broker(broker)

callbacks: list[list[Any]] = []


@dramatiq.actor(store_results=True)
def add(x: int, y: int = 1) -> int:
    return x + y


@dramatiq.actor(store_results=True, max_retries=2, min_backoff=1, max_backoff=2)
def fail(text: str = "no") -> None:
    raise ValueError(text)


@dramatiq.actor(queue_name="other", priority=5, max_age=3_600_000)
def other() -> None: ...


@dramatiq.actor(store_results=True)
async def twice(x: int) -> int:
    return x * 2


@dramatiq.actor
def callback(*arguments: Any) -> None:
    callbacks.append([sorted(each) if isinstance(each, dict) else each for each in arguments])


@dramatiq.actor(on_failure="callback", on_success="callback", throws=KeyError)
def both(fails: int) -> int:
    if fails:
        raise KeyError("x")
    return 5


@dramatiq.actor(store_results=True)
def who() -> str | None:
    message: Any = CurrentMessage.get_current_message()
    return str(message.actor_name)


class Double(dramatiq.GenericActor):
    class Meta:
        store_results = True
        queue_name = "other"

    def perform(self, x: int) -> int:
        return 2 * x


def outcome(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """What a call returns, or the class and text of what it raises."""
    try:
        return repr(call(*arguments, **keywords))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is printed
        return f"{type(error).__name__}: {error}"


def kind_of_outcome(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """As `outcome`, without the text, which is each library's own."""
    return outcome(call, *arguments, **keywords).partition(":")[0]


def tell_of_declarations() -> None:
    print(hooks.declarations)
    print(str(add), repr(add).partition(", ")[2], sorted(add.options), sorted(broker.actor_options))
    print(sorted(broker.queues), sorted(broker.delay_queues), sorted(broker.get_declared_actors()))
    print(sorted(broker.get_declared_queues()), sorted(broker.get_declared_delay_queues()))
    print([type(each).__name__ for each in broker.middleware])
    print(
        outcome(dramatiq.actor, add.fn, actor_name="add"),
        kind_of_outcome(dramatiq.actor(queue_name="9"), len),
    )
    print(kind_of_outcome(dramatiq.actor(colour="red"), len), outcome(broker.get_actor, "nobody"))


def tell_of_messages() -> None:
    message: Any = add.message(1, y=2)
    print(
        message.queue_name,
        message.args,
        message.kwargs,
        message.options,
        str(message),
        list(message.asdict()),
    )
    print(message.encode() == json.dumps(message.asdict(), separators=(",", ":")).encode())
    print(dramatiq.Message.decode(message.encode()) == message, message.copy(options={"a": 1}).options)
    print(kind_of_outcome(dramatiq.Message.decode, b"\xff"), kind_of_outcome(add.send, object()))
    print(kind_of_outcome(add.message_with_options, args=(1,), on_success=5))
    print(outcome(broker.enqueue, message.copy(queue_name="nowhere")), outcome(broker.consume, "nowhere"))
    print(outcome(message.get_result), kind_of_outcome(message.get_result, block=True, timeout=20))
    proxy: Any = dramatiq.MessageProxy(message)
    print(str(proxy), proxy == message, message == proxy, proxy.failed, outcome(hash, proxy))
    print(compute_backoff(3, jitter=False), dq_name("a.XQ"), q_name("a.DQ"), xq_name("a"))


def tell_of_runs() -> None:
    delayed = [add.send_with_options(args=(1, 2), delay=delay) for delay in (10, 100)]
    print([(message.queue_name, sorted(message.options)) for message in delayed])
    double: Any = Double
    sent = [add.send(1), fail.send(), twice.send(4), who.send(), double.send(21), *delayed]
    for message in sent:
        print(message.actor_name, outcome(message.get_result, block=True, timeout=10_000))
    both.send(0)
    both.send(1)
    other.send()
    for queue_name in ("default", "other"):
        broker.join(queue_name, timeout=10_000, fail_fast=False)
        print(outcome(broker.join, queue_name, timeout=10_000))
    print(callbacks)
    print([(each.actor_name, each.failed, repr(each._exception)) for each in broker.dead_letters])
    print([sorted(each.options) for each in broker.dead_letters])
    # Threads may take turns as they like, but one of them runs all messages.
    for name, seen in sorted(hooks.messages.items()):
        print(name, sorted(Counter(seen).items()))
    print([hook for hook in hooks.messages["both"] if not hook.endswith("enqueue")])
    broker.flush_all()
    print(broker.dead_letters, broker.queues["default"].qsize(), broker.queues["default"].unfinished_tasks)


def tell_of_compositions() -> None:
    pipe: Any = add.message(1, 2) | add.message(3)
    print(len(pipe), str(pipe), isinstance(pipe, pipeline), pipe.completed, pipe.completed_count)
    print(pipe.run() is pipe, pipe.get_result(block=True), list(pipe.get_results()), pipe.completed)
    several: Any = group([add.message(1, 2), pipe, group([add.message(5)])])
    print(len(several), several.run() is several, list(several.get_results(block=True, timeout=10_000)))
    print(several.completed, several.completed_count)
    callbacks.clear()
    two: Any = group([add.message(1, 1), add.message(2, 2)])
    two.add_completion_callback(callback.message("both are done"))
    two.run().wait(timeout=10_000)
    broker.join("default", timeout=10_000)
    print(callbacks)
    nested: Any = group([group([add.message(1)])])
    nested.add_completion_callback(callback.message("never"))
    print(kind_of_outcome(nested.run), kind_of_outcome(group([add.message(1)]).wait, timeout=1))


def tell_of_limits() -> None:
    one = ConcurrentRateLimiter(limits, "one", limit=1)
    with one.acquire() as acquired:
        print(acquired, kind_of_outcome(one.acquire().__enter__))
        with one.acquire(raise_on_failure=False) as again:
            print(again)
    for kind in (ConcurrentRateLimiter, BucketRateLimiter, WindowRateLimiter):
        print(kind_of_outcome(kind, limits, "key", limit=0))
    barrier = Barrier(limits, "barrier")
    print(barrier.create(2), barrier.create(2), barrier.wait(block=False), barrier.wait(block=False))
    print(Barrier(limits, "missing").wait(), barrier.wait(timeout=10))
    print(limits.add("a", 1, 60_000), limits.add("a", 1, 60_000))
    print([limits.incr("a", 1, 2, 60_000) for _ in range(2)], limits.decr("a", 1, 0, 60_000))
    print(limits.decr("z", 1, 0, 60_000))
    print([limits.incr_and_sum("s", lambda: ["s", "a"], 1, 2, 60_000) for _ in range(2)])


def tell_of_errors() -> None:
    for name in ("ActorNotFound", "ConnectionClosed", "DecodeError", "QueueNotFound", "RateLimitExceeded"):
        print(name, issubclass(getattr(dramatiq.errors, name), dramatiq.DramatiqError))
    print(repr(str(dramatiq.Retry())), str(dramatiq.Retry("x", delay=5)), dramatiq.Retry(delay=5).delay)
    print(str(dramatiq.BrokerError("")))


if __name__ == "__main__":
    tell_of_declarations()
    tell_of_messages()
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=50)
    worker.start()
    tell_of_runs()
    tell_of_compositions()
    worker.stop()
    tell_of_limits()
    tell_of_errors()
    broker.close()
