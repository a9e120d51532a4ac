"""Traces messages with OpenTelemetry, from the program that sends them into the worker that runs them.

The context travels in the message's option ``trace_context``, as the propagator of the process writes it (W3C's
``traceparent`` unless told otherwise). The only module that imports opentelemetry (extra ``otel``); not imported unless
a program asks for it. Which SDK and exporter there are, and whether any, is the program's choice.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.clock import server_millis
from pgqueue.common import q_name
from pgqueue.errors import MissingExtra, Retry

from .middleware import Middleware

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
except ImportError as error:
    raise MissingExtra("otel", "pgqueue.middleware.opentelemetry") from error

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy

    from .middleware import AnyMessage

__all__ = ["OpenTelemetry"]

#: The option of a message that holds what the propagator writes, and ``due_ms``.
CARRIER = "trace_context"

#: In the carrier: when the message could be run first, in milliseconds since the epoch by the sender's clock.
DUE = "due_ms"


@dataclass(frozen=True, slots=True)
class Run:
    """A message that a thread is processing."""

    message_id: str
    span: Span
    token: Token[Context]


@dataclass(frozen=True, slots=True)
class Sending:
    """A message between the hooks before and after its sending, and what ends its span if the second never comes."""

    span: Span
    giving_up: weakref.finalize[[int], Any]


class Thread(threading.local):
    """What a thread is doing."""

    run: Run | None = None


class OpenTelemetry(Middleware):
    """Makes a span of each sending (producer) and each run (consumer) of a message.

    A run is a child of its sending; what is sent in a run, its retry and the next step of its pipeline included, is a
    child of the run. Spans have the attributes of the semantic conventions for messaging, with the system ``pgqueue``,
    and ``pgqueue.actor_name``, ``pgqueue.retries``, ``pgqueue.delay_ms`` and ``pgqueue.wait_ms``: how long the message
    could have been run before it was, as far as the two machines' clocks agree. Hooks run in any thread; works at any
    place among the middleware.

    Parameters:
      tracer_provider: Where spans go; None means the process's provider.
      separate_traces: Each run begins a trace of its own, with a link to its sending; for actors that send
        themselves again and again, whose trace would never end.

    Raises:
      MissingExtra: On import, if OpenTelemetry is not installed.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, separate_traces: bool = False
    ) -> None:
        self._tracer: Tracer = trace.get_tracer("pgqueue", tracer_provider=tracer_provider)
        self._separate = separate_traces
        self._sending: dict[int, Sending] = {}
        self._thread = Thread()

    # -- sending

    def before_enqueue(self, broker: Broker, message: AnyMessage, delay: int | None) -> None:
        """Begin the span of a sending, and give the message its context."""
        known = _carrier(message)
        if known and delay is None and not trace.get_current_span().get_span_context().is_valid:
            # It was delayed in a worker's memory, and is due: not a new message.
            return
        span = self._tracer.start_span(
            f"send {q_name(message.queue_name)}",
            kind=SpanKind.PRODUCER,
            attributes=_attributes(message, "send") | ({} if delay is None else {"pgqueue.delay_ms": delay}),
        )
        carrier: dict[str, Any] = {}
        propagate.inject(carrier, context=trace.set_span_in_context(span))
        message.options[CARRIER] = {**carrier, DUE: server_millis() + (delay or 0)}
        self._keep(message, span)

    def after_enqueue(self, broker: Broker, message: AnyMessage, delay: int | None) -> None:
        """End the span of a sending."""
        sending = self._sending.pop(id(message), None)
        if sending is not None:
            sending.giving_up.detach()
            sending.span.end()

    def _keep(self, message: AnyMessage, span: Span) -> None:
        # A sending that fails calls no hook. The message goes when its sender has seen the error, and the span with it.
        giving_up = weakref.finalize(message, self._give_up, id(message))
        giving_up.atexit = False
        self._sending[id(message)] = Sending(span, giving_up)

    def _give_up(self, key: int) -> None:
        sending = self._sending.pop(key, None)
        if sending is not None:
            sending.span.set_status(Status(StatusCode.ERROR, "The message was not sent."))
            sending.span.end()

    # -- processing

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Begin the span of a run, and make it the thread's current one."""
        self._leave()
        carrier = _carrier(message)
        fields = {name: text for name, text in carrier.items() if isinstance(text, str)}
        parent = propagate.extract(fields, context=Context())
        attributes = _attributes(message, "process")
        due = carrier.get(DUE)
        if isinstance(due, int):
            attributes["pgqueue.wait_ms"] = max(0, server_millis() - due)
        sender = trace.get_current_span(parent).get_span_context()
        links = [Link(sender)] if self._separate and sender.is_valid else None
        span = self._tracer.start_span(
            f"process {q_name(message.queue_name)}",
            context=Context() if self._separate else parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        )
        # What else the propagator brought, baggage for example, is there in the run, too.
        token = context.attach(trace.set_span_in_context(span, parent))
        self._thread.run = Run(message.message_id, span, token)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Note how the run ended. Its span goes on, for other middleware sends what follows from it."""
        run = self._thread.run
        if run is None or exception is None or isinstance(exception, Retry):
            return
        run.span.record_exception(exception)
        run.span.set_attribute("error.type", type(exception).__qualname__)
        run.span.set_status(Status(StatusCode.ERROR, f"{type(exception).__qualname__}: {exception}"))

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Note that the actor was not run."""
        if self._thread.run is not None:
            self._thread.run.span.set_attributes({"pgqueue.skipped": True})

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        """End the span of a run."""
        self._end(message, "ack")

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        """End the span of a run whose message goes to the dead letters."""
        self._end(message, "nack")

    def _end(self, message: MessageProxy, verdict: str) -> None:
        run = self._thread.run
        if run is not None and run.message_id == message.message_id:
            run.span.set_attribute("pgqueue.verdict", verdict)
            self._leave()

    def _leave(self) -> None:
        run, self._thread.run = self._thread.run, None
        if run is not None:
            run.span.end()
            context.detach(run.token)


def _attributes(message: AnyMessage, operation: str) -> dict[str, str | int]:
    return {
        "messaging.system": "pgqueue",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": q_name(message.queue_name),
        "messaging.message.id": message.message_id,
        "pgqueue.actor_name": message.actor_name,
        "pgqueue.retries": int(message.options.get("retries") or 0),
    }


def _carrier(message: AnyMessage) -> Mapping[str, Any]:
    """What a message brings along; nothing, if somebody else has put something odd there."""
    carrier = message.options.get(CARRIER)
    return carrier if isinstance(carrier, dict) else {}
