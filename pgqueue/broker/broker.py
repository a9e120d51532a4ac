"""The base of all brokers: actors and queues by name, middleware, and the way messages come and go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from pgqueue import _forks
from pgqueue.errors import ActorNotFound, MiddlewareError
from pgqueue.faults import Fault
from pgqueue.logging import own_logger
from pgqueue.middleware import Middleware, default_middleware
from pgqueue.results import Results

from .hooks import HookTable

if TYPE_CHECKING:
    from pgqueue.actor import Actor
    from pgqueue.message import Cancellation, Message, MessageStatus
    from pgqueue.results import ResultBackend

    from .consumer import Consumer
    from .proxy import MessageProxy

    AnyMessage: TypeAlias = Message[Any] | MessageProxy

__all__ = ["Broker"]


class Broker:
    """The base of all brokers.

    Its operations may be called from any thread.  A broker must not be used in a child process after its
    parent has used it.

    Parameters:
      middleware: None means one of each default middleware; an empty list means none.
    """

    #: The names of the declared queues; a broker may keep more than the names.
    queues: Collection[str]

    #: Options of actors that the broker itself understands, beside ``actor_options``, which are its middleware's.
    own_actor_options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, middleware: Iterable[Middleware] | None = None) -> None:
        self.logger = own_logger("pgqueue.broker", type(self))
        self.actors: dict[str, Actor[..., Any]] = {}
        self.queues = {}
        self.delay_queues: set[str] = set()
        self.actor_options: set[str] = set()
        self.middleware: list[Middleware] = []
        self._hook_table = HookTable()
        if middleware is None:
            middleware = [make() for make in default_middleware]
        for instance in middleware:
            self.add_middleware(instance)

    # ── middleware ────────────────────────────────────────────────────────────────────────────────

    def add_middleware(
        self,
        middleware: Middleware,
        *,
        before: type[Middleware] | None = None,
        after: type[Middleware] | None = None,
    ) -> None:
        """Add a middleware, last or at a given place, and tell it what is already declared.

        Parameters:
          before: Put it before the first middleware of this class.
          after: Put it behind the first middleware of this class.

        Raises:
          TypeError: It is a class itself.
          ValueError: There is no middleware of that class.
        """
        if isinstance(middleware, type):
            raise TypeError(f"{middleware.__name__} is a class: add an instance, {middleware.__name__}(…).")
        assert not (before and after), "give either `before` or `after`"  # noqa: S101  # as Dramatiq
        if any(type(present) is type(middleware) for present in self.middleware):
            self.logger.warning(
                "You're adding a middleware of the same type twice: %r. Both will be called.", middleware
            )
        self.middleware.insert(self._place(before, after), middleware)
        self.actor_options |= middleware.actor_options
        self._replay_declarations(middleware)

    def _place(self, before: type[Middleware] | None, after: type[Middleware] | None) -> int:
        neighbour = before or after
        if neighbour is None:
            return len(self.middleware)
        for index, present in enumerate(self.middleware):
            if isinstance(present, neighbour):
                return index if before else index + 1
        raise ValueError(f"Middleware {neighbour.__name__} has not been added to this broker.")

    def _replay_declarations(self, middleware: Middleware) -> None:
        for actor in list(self.actors.values()):
            middleware.after_declare_actor(self, actor)
        delay_queues = self.get_declared_delay_queues()
        for queue_name in self.get_declared_queues() - delay_queues:
            middleware.after_declare_queue(self, queue_name)
        for queue_name in delay_queues:
            middleware.after_declare_delay_queue(self, queue_name)

    def hooks(self, name: str) -> Sequence[Callable[..., Any]]:
        """Return the methods of one hook, ``after_enqueue`` for example, in the order of calling.

        Only of middleware that defines the hook: before-hooks in the order of the list, after-hooks in reverse.
        """
        return self._hook_table.methods(self.middleware, name)

    def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the ``before_<signal>`` hooks, in the order of the middleware.

        Raises:
          MiddlewareError: A hook raised it.  Any other Exception of a hook is logged, and the next is called.
        """
        hook = "before_" + signal
        listeners = self._hook_table.listeners(self.middleware, hook)
        if not listeners:
            return
        arguments = (self, *args)
        depth = _forks.depth
        # Each method is looked up anew, for it may have been patched.
        for listener in listeners:
            try:
                getattr(listener, hook)(*arguments, **kwargs)
                if _forks.depth != depth:
                    _forks.leave_if_forked(depth)
            except BaseException as error:
                _forks.leave_if_forked(depth, error)
                if isinstance(error, MiddlewareError) or not isinstance(error, Exception):
                    raise
                self.logger.critical(
                    "Unexpected failure in %s of %r.", hook, listener, exc_info=True, fault=Fault.HOOK_FAILED
                )

    def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
        """Call the ``after_<signal>`` hooks, in reverse order.

        An Exception of a hook is logged.  What else a hook raises, SystemExit for example, is raised when the
        other hooks have been called, for one of them may be the one that saves the message.
        """
        hook = "after_" + signal
        listeners = self._hook_table.listeners(self.middleware, hook)
        if not listeners:
            return
        escaped: BaseException | None = None
        arguments = (self, *args)
        depth = _forks.depth
        for listener in listeners:
            try:
                getattr(listener, hook)(*arguments, **kwargs)
                if _forks.depth != depth:
                    _forks.leave_if_forked(depth)
            except BaseException as error:
                _forks.leave_if_forked(depth, error)
                if not isinstance(error, Exception):
                    escaped = error
                    continue
                self.logger.critical(
                    "Unexpected failure in %s of %r.", hook, listener, exc_info=True, fault=Fault.HOOK_FAILED
                )
        if escaped is not None:
            try:
                raise escaped
            finally:
                del escaped  # it holds this frame

    # ── declarations ──────────────────────────────────────────────────────────────────────────────

    def declare_actor(self, actor: Actor[..., Any]) -> None:
        """Make an actor known, and its queue."""
        self.emit_before("declare_actor", actor)
        self.declare_queue(actor.queue_name)
        self.actors[actor.actor_name] = actor
        self.emit_after("declare_actor", actor)

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known, and its delay queue; once known, nothing happens.

        The first time, the hooks are before and after ``declare_queue``, then after ``declare_delay_queue``.
        """
        raise NotImplementedError

    def get_actor(self, actor_name: str) -> Actor[..., Any]:
        """Return the actor of that name.

        Raises:
          ActorNotFound: There is none.
        """
        try:
            return self.actors[actor_name]
        except KeyError:
            raise ActorNotFound(actor_name) from None

    def get_declared_actors(self) -> set[str]:
        """Return the names of the actors, in a set of the caller's own."""
        return set(self.actors)

    def get_declared_queues(self) -> set[str]:
        """Return the names of the queues, in a set of the caller's own."""
        return set(self.queues)

    def get_declared_delay_queues(self) -> set[str]:
        """Return the names of the delay queues, in a set of the caller's own."""
        return set(self.delay_queues)

    def get_results_backend(self) -> ResultBackend:
        """Return where results are stored.

        Raises:
          RuntimeError: The broker has no Results middleware.
        """
        for middleware in self.middleware:
            if isinstance(middleware, Results):
                return middleware.backend
        raise RuntimeError("The broker has no results backend: broker.add_middleware(Results(backend=...)).")

    # ── messages ──────────────────────────────────────────────────────────────────────────────────

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Consumer:
        """Return a consumer of one queue.

        Parameters:
          prefetch: How many messages may be fetched and not yet settled.
          timeout: Milliseconds without a message after which the consumer yields None.

        Raises:
          QueueNotFound: The queue is not declared, and the broker does not do so by itself.
        """
        raise NotImplementedError

    def limit_run(self, until: float) -> None:
        """Take note, in a worker thread, by when its message must have ended at the latest; most brokers need not.

        Parameters:
          until: On the monotonic clock; 0.0 for no matter when.
        """

    def on_stop_ordered(self, call: Callable[[], None]) -> None:
        """Have ``call`` called, in any thread, when an operator orders this process to stop, with brokers that can."""

    def consume_many(
        self,
        queue_names: Collection[str],  # noqa: ARG002
        *,
        prefetch: int | None,  # noqa: ARG002
        threads: int,  # noqa: ARG002
        timeout: int,  # noqa: ARG002
    ) -> Consumer | None:
        """Return one consumer for many queues, or None if this broker has a consumer for each queue.

        A broker that returns one keeps delayed messages to itself until they are due.

        Parameters:
          prefetch: How many messages may be fetched and not yet settled; None leaves it to the broker.
          threads: How many worker threads share what is fetched.
          timeout: Milliseconds without a message after which the consumer yields None.
        """
        return None

    def enqueue(self, message: AnyMessage, *, delay: int | None = None) -> Message[Any]:
        """Send a message.

        Parameters:
          message: Perhaps a MessageProxy: only its attributes may be used.
          delay: Milliseconds until it may run; 0 is a delay, too.

        Returns:
          The message as it was sent: with a delay a copy, on the delay queue and with an ``eta``.
        """
        raise NotImplementedError

    def enqueue_many(self, messages: Iterable[AnyMessage], *, delay: int | None = None) -> list[Message[Any]]:
        """Send messages in order; a broker that can sends all or none of them, in one round trip."""
        return [self.enqueue(message, delay=delay) for message in messages]

    def check_messages(self, messages: Iterable[Message[Any]]) -> None:
        """Raise what sending these would raise because of what is in them, and send none.

        With a ``before_enqueue`` hook of the program's nothing is said: what it makes of a message is what is encoded.
        """
        # Our own hooks leave arguments as they are.
        if all(str(hook.__module__).startswith("pgqueue.") for hook in self.hooks("before_enqueue")):
            for message in messages:
                self._check_message(message)

    def _check_message(self, message: Message[Any]) -> None:
        message.encode()

    async def enqueue_async(self, message: AnyMessage, *, delay: int | None = None) -> Message[Any]:
        """As :meth:`enqueue`, for a coroutine."""
        return (await self.enqueue_many_async([message], delay=delay))[0]

    async def enqueue_many_async(
        self, messages: Iterable[AnyMessage], *, delay: int | None = None
    ) -> list[Message[Any]]:
        """As :meth:`enqueue_many`, for a coroutine; a broker with a server does not hold up the event loop."""
        return self.enqueue_many(messages, delay=delay)

    def flush(self, queue_name: str) -> None:
        """Drop all messages of a queue, delayed ones and dead letters included."""
        raise NotImplementedError

    def flush_all(self) -> None:
        """Drop all messages of all declared queues."""
        for queue_name in self.get_declared_queues() - self.get_declared_delay_queues():
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Wait until a queue has no message: none waiting, none delayed, none being run.

        Parameters:
          timeout: Milliseconds; None waits for ever.

        Raises:
          QueueJoinTimeout: It took longer.
        """
        raise NotImplementedError

    def get_message_status(self, message_id: str) -> MessageStatus:
        """Return where a message is.

        Raises:
          NotImplementedError: The broker can't tell.
        """
        raise NotImplementedError(f"{type(self).__name__} can't tell where message {message_id} is.")

    # ── orders to all workers ─────────────────────────────────────────────────────────────────────

    def cancel(self, message_id: str, *, timeout: int = 1000) -> Cancellation:
        """See that a message does not run, or not to its end.

        Parameters:
          timeout: Milliseconds to wait for the answer of the worker that holds it.

        Raises:
          NotImplementedError: The broker can't.
        """
        raise NotImplementedError(f"{type(self).__name__} can't cancel message {message_id}.")

    def pause_queue(self, queue_name: str) -> bool:
        """Have no worker begin a message of a queue; False if it was paused already.

        Raises:
          NotImplementedError: The broker can't.
        """
        raise NotImplementedError(f"{type(self).__name__} can't pause queue {queue_name}.")

    def resume_queue(self, queue_name: str) -> bool:
        """Let a paused queue go on; False if it was not paused."""
        raise NotImplementedError(f"{type(self).__name__} can't pause or resume queue {queue_name}.")

    def pause_actor(self, actor_name: str) -> bool:
        """Have no worker begin a message of an actor; False if it was paused already.

        Raises:
          NotImplementedError: The broker can't.
        """
        raise NotImplementedError(f"{type(self).__name__} can't pause actor {actor_name}.")

    def resume_actor(self, actor_name: str) -> bool:
        """Let a paused actor go on; False if it was not paused."""
        raise NotImplementedError(f"{type(self).__name__} can't pause or resume actor {actor_name}.")

    def check(self) -> None:
        """See whether messages can be sent and consumed; called once by each worker process as it starts.

        Raises:
          BrokerConnectionError: The server can't be reached.
          PgQueueError: What it holds can't be used.
        """

    def close(self) -> None:
        """Release the connections, if there are any."""

    async def close_async(self) -> None:
        """As :meth:`close`, for a coroutine: those of its event loop are released when this returns."""
        self.close()
