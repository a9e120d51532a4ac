"""The base class of every middleware: two properties and the 24 hooks of a broker's and a worker's life.

``before_`` hooks run in the order of the broker's list, ``after_`` hooks in reverse. A broker calls only
what a class overrides, so a hook that is not needed should not be defined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from pgqueue.errors import MiddlewareError, SkipMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgqueue.actor import Actor
    from pgqueue.broker import Broker, MessageProxy
    from pgqueue.message import Message
    from pgqueue.worker import ConsumerThread, Worker, WorkerThread

    AnyActor: TypeAlias = Actor[..., Any]
    AnyMessage: TypeAlias = Message[Any] | MessageProxy

__all__ = ["Middleware", "MiddlewareError", "SkipMessage"]


class Middleware:
    """Something that takes part in what a broker and its workers do.

    Every hook may be called from any thread that its sentence names. What a ``before_`` hook raises is
    logged and forgotten, unless it is a `MiddlewareError`; what an ``after_`` hook raises always is.
    """

    #: How often a hook has been assigned to an instance; tells brokers that what they noted of hooks is stale.
    assigned_hooks: ClassVar[int] = 0

    if not TYPE_CHECKING:  # with a __setattr__ in sight, a type checker lets any attribute be assigned

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name.startswith(("before_", "after_")):
                Middleware.assigned_hooks += 1

    @property
    def actor_options(self) -> set[str]:
        """The names of the options that this middleware adds to actors."""
        return set()

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse, by raising, what can't be meant; called where an actor is declared, with all of its options."""

    @property
    def forks(self) -> list[Callable[[], int | None]]:
        """Functions of a module's top level that the command line runs, each in a process of its own."""
        return []

    @property
    def fork_environment(self) -> Mapping[str, str]:
        """Environment variables for all forks, where they are not set; read when the worker is up. May hold secrets."""
        return {}

    # -- processes, workers and their threads

    def after_process_boot(self, broker: Broker) -> None:
        """Called in a worker process once the broker is imported, in the main thread."""

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Called by ``Worker.start`` before it starts anything."""

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Called by ``Worker.start`` when every thread has been started."""

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Called by ``Worker.stop`` before it waits for running messages."""

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Called by ``Worker.stop`` when every thread has ended and the rest was handed back."""

    def after_worker_thread_boot(self, broker: Broker, thread: WorkerThread) -> None:
        """Called in each worker thread when it starts."""

    def before_worker_thread_shutdown(self, broker: Broker, thread: WorkerThread) -> None:
        """Called in each worker thread before it ends; the place to close thread-local connections."""

    def after_consumer_thread_boot(self, broker: Broker, thread: ConsumerThread) -> None:
        """Called in each consumer thread when it starts."""

    def before_consumer_thread_shutdown(self, broker: Broker, thread: ConsumerThread) -> None:
        """Called in each consumer thread before it ends."""

    # -- declarations

    def before_declare_actor(self, broker: Broker, actor: AnyActor) -> None:
        """Called before an actor is declared."""

    def after_declare_actor(self, broker: Broker, actor: AnyActor) -> None:
        """Called after an actor was declared; also for earlier ones when the middleware is added."""

    def before_declare_queue(self, broker: Broker, queue_name: str) -> None:
        """Called before a queue is declared for the first time."""

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        """Called after a queue was declared; it is registered, but perhaps not yet on the server."""

    def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
        """Called after a delay queue, ``<queue>.DQ``, was declared."""

    # -- messages on their way in

    def before_enqueue(self, broker: Broker, message: AnyMessage, delay: int | None) -> None:
        """Called before a message is enqueued, in the sender's thread; may still change its options.

        Parameters:
          delay: Milliseconds, or None for a message that is due at once.
        """

    def after_enqueue(self, broker: Broker, message: AnyMessage, delay: int | None) -> None:
        """Called after a message was enqueued, in the sender's thread."""

    def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
        """Called in the consumer thread when a delayed message enters the worker's memory.

        Brokers that keep delayed messages in the server until they are due never call it.
        """

    # -- messages being processed

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Called in the worker thread before the actor runs.

        Raises:
          SkipMessage: from here, keeps the actor from running.
        """

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Called in the worker thread after the actor has returned or raised."""

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Called in the worker thread, in place of ``after_process_message``, for a skipped message."""

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Called before a message is acknowledged."""

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Called after a message was acknowledged."""

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Called before a message is rejected."""

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Called after a message was rejected."""
