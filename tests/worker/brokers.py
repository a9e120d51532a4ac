"""Brokers that behave badly, or like one with a consumer for all queues."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pgqueue.broker import Consumer, MessageProxy
from pgqueue.broker.worker_consumer import WorkerConsumer, for_worker
from pgqueue.brokers.stub import StubBroker

__all__ = ["FlakyBroker", "ManyBroker", "ManyConsumer"]


class FlakyBroker(StubBroker):
    """Raises the exceptions put into its lists, one a call."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.next_failures: list[Exception] = []
        self.ack_failures: list[Exception] = []
        self.consumers_opened = 0

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        self.consumers_opened += 1
        return _FlakyConsumer(self, super().consume(queue_name, prefetch=prefetch, timeout=timeout))


class _Wrapper(WorkerConsumer):
    def __init__(self, consumer: Consumer) -> None:
        self.inner = for_worker(consumer)

    def __next__(self) -> MessageProxy | None:
        return next(self.inner)

    def ack(self, message: MessageProxy) -> None:
        self.inner.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self.inner.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self.inner.requeue(messages)

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()


class _FlakyConsumer(_Wrapper):
    def __init__(self, broker: FlakyBroker, consumer: Consumer) -> None:
        super().__init__(consumer)
        self.broker = broker

    def __next__(self) -> MessageProxy | None:
        if self.broker.next_failures:
            raise self.broker.next_failures.pop(0)
        return next(self.inner)

    def ack(self, message: MessageProxy) -> None:
        if self.broker.ack_failures:
            raise self.broker.ack_failures.pop(0)
        self.inner.ack(message)


class ManyBroker(StubBroker):
    """One consumer for all queues, as the Postgres broker has, and a list of what it was told."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    def consume_many(
        self, queue_names: Collection[str], *, prefetch: int | None, threads: int, timeout: int
    ) -> Consumer:
        if self.failure is not None:
            raise self.failure
        self.calls.append(("consume_many", sorted(queue_names), prefetch, threads))
        return ManyConsumer(self, queue_names)


class ManyConsumer(WorkerConsumer):
    def __init__(self, broker: ManyBroker, queue_names: Iterable[str]) -> None:
        self.broker = broker
        self.consumers = {name: self._consumer_of(name) for name in queue_names}

    def __next__(self) -> MessageProxy | None:
        for consumer in list(self.consumers.values()):
            message = next(consumer)
            if message is not None:
                return message
        return None

    def _consumer_of(self, queue_name: str) -> WorkerConsumer:
        return for_worker(self.broker.consume(queue_name, prefetch=16, timeout=5))

    def _note(self, call: str, *details: Any) -> None:
        self.broker.calls.append((call, *details))

    def ack(self, message: MessageProxy) -> None:
        self._note("ack", message.args)
        self.consumers[message.queue_name].ack(message)

    def nack(self, message: MessageProxy) -> None:
        self._note("nack", message.args)
        self.consumers[message.queue_name].nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        messages = list(messages)
        self._note("requeue", [message.args for message in messages])
        for name, consumer in self.consumers.items():
            consumer.requeue([message for message in messages if message.queue_name == name])

    def subscribe(self, queue_name: str) -> None:
        self._note("subscribe", queue_name)
        self.consumers[queue_name] = self._consumer_of(queue_name)

    def started(self, message: MessageProxy) -> None:
        self._note("started", message.args)

    def finished(self, message: MessageProxy) -> None:
        self._note("finished", message.args)

    def settling(self, message: MessageProxy) -> _Settling:
        return _Settling(self, message)

    def pause(self) -> None:
        for consumer in self.consumers.values():
            consumer.pause()

    def resume(self) -> None:
        for consumer in self.consumers.values():
            consumer.resume()

    def flush(self, timeout: float | None = None) -> bool:
        self._note("flush")
        return True

    def close(self) -> None:
        self._note("close")


class _Settling:
    def __init__(self, consumer: ManyConsumer, message: MessageProxy) -> None:
        self.consumer, self.message = consumer, message

    def __enter__(self) -> None:
        self.consumer._note("settling", self.message.args)

    def __exit__(self, *_: object) -> None:
        self.consumer._note("settled", self.message.args)
