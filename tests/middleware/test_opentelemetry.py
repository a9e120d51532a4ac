"""Spans of sending and running, on both brokers, through retries, pipelines and processes."""

from __future__ import annotations

import gc
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.message import Message
from pgqueue.middleware import AgeLimit, SkipMessage
from pgqueue.middleware.opentelemetry import OpenTelemetry
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop


class Traces:
    """A provider of tracers, and what it was given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def spans(self, count: int) -> list[ReadableSpan]:
        """So many spans, once there are, in the order of their beginning."""

        def look() -> list[ReadableSpan]:
            found = self.exporter.get_finished_spans()
            assert len(found) >= count, [span.name for span in found]
            return list(found)

        found = eventually(look)
        assert len(found) == count, [span.name for span in found]
        return sorted(found, key=lambda span: span.start_time or 0)


@pytest.fixture
def traces() -> Traces:
    return Traces()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    return int(span.context.span_id)


def is_chain(spans: list[ReadableSpan]) -> bool:
    """Whether each span but the first is a child of the one before."""
    return all(parent_of(child) == id_of(parent) for parent, child in pairwise(spans))


@pytest.fixture
def traced(broker: Broker, traces: Traces) -> Broker:
    """Each broker in turn, with its spans collected."""
    broker.add_middleware(OpenTelemetry(tracer_provider=traces.provider))
    return broker


def test_a_run_is_a_child_of_its_sending(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    seen: list[int] = []

    @pgqueue.actor(queue_name="mail")
    def work() -> None:
        seen.append(trace.get_current_span().get_span_context().span_id)

    with traces.tracer.start_as_current_span("request"):
        message = work.send()
    worker_for(traced)
    request, send, process = traces.spans(3)
    assert (send.name, process.name) == ("send mail", "process mail")
    assert (send.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert is_chain([request, send, process])
    assert seen == [id_of(process)]
    for span, operation in ((send, "send"), (process, "process")):
        told = attributes(span)
        assert told["messaging.system"] == "pgqueue"
        assert told["messaging.operation.name"] == told["messaging.operation.type"] == operation
        assert told["messaging.destination.name"] == "mail"
        assert told["messaging.message.id"] == message.message_id
        assert (told["pgqueue.actor_name"], told["pgqueue.retries"]) == ("work", 0)
        assert span.status.status_code is StatusCode.UNSET
    assert attributes(process)["pgqueue.wait_ms"] >= 0
    assert attributes(process)["pgqueue.verdict"] == "ack"


def test_retries_go_on_with_the_trace_and_errors_are_recorded(
    traced: Broker, traces: Traces, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(max_retries=1, min_backoff=1, max_backoff=1)
    def work() -> None:
        raise ValueError("no")

    work.send()
    worker_for(traced)
    spans = traces.spans(4)
    assert [span.name.split()[0] for span in spans] == ["send", "process", "send", "process"]
    assert is_chain(spans)
    assert [attributes(span)["pgqueue.retries"] for span in spans] == [0, 0, 1, 1]
    assert attributes(spans[2])["pgqueue.delay_ms"] >= 0
    for span, verdict in ((spans[1], "ack"), (spans[3], "nack")):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "ValueError: no"
        assert attributes(span)["error.type"] == "ValueError"
        assert attributes(span)["pgqueue.verdict"] == verdict
        assert [event.name for event in span.events] == ["exception"]


def test_a_retry_that_is_asked_for_is_no_error(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    runs: list[int] = []

    @pgqueue.actor
    def work() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise pgqueue.Retry("not yet", delay=1)

    work.send()
    worker_for(traced)
    assert {span.status.status_code for span in traces.spans(4)} == {StatusCode.UNSET}


def test_a_pipeline_is_one_trace(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    @pgqueue.actor
    def add(a: int, b: int = 0) -> int:
        return a + b

    (add.message(1, 2) | add.message(3)).run()
    worker_for(traced)
    assert is_chain(traces.spans(4))


@pytest.mark.parametrize("first", [True, False])
def test_any_place_among_the_middleware_will_do(
    broker: Broker, traces: Traces, worker_for: WorkerFor, first: bool
) -> None:
    middleware = OpenTelemetry(tracer_provider=traces.provider)
    broker.add_middleware(middleware, **({"before": AgeLimit} if first else {}))

    @pgqueue.actor(max_retries=1, min_backoff=1, max_backoff=1)
    def work() -> None:
        raise ValueError("no")

    work.send()
    worker_for(broker)
    assert is_chain(traces.spans(4))


def test_what_is_sent_together_has_a_span_each(traced: Broker, traces: Traces) -> None:
    @pgqueue.actor
    def work(number: int) -> None:
        pass

    messages = [work.message(number) for number in range(3)]
    traced.enqueue_many(messages)
    spans = traces.spans(3)
    sent = {attributes(span)["messaging.message.id"] for span in spans}
    assert sent == {message.message_id for message in messages}
    assert len({message.options["trace_context"]["traceparent"] for message in messages}) == 3


def test_a_delay_is_no_waiting(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    before_ns = (
        time.time_ns()
    )  # the span of the send begins after its eta was reckoned, on a busy machine well after
    work.send_with_options(delay=100)
    worker_for(traced)
    send, process = traces.spans(2)
    assert is_chain([send, process])
    assert attributes(send)["pgqueue.delay_ms"] == 100
    waited_ms = ((process.start_time or 0) - before_ns) // 1_000_000
    assert 0 <= attributes(process)["pgqueue.wait_ms"] <= waited_ms - 99


def test_runs_may_have_traces_of_their_own(broker: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    broker.add_middleware(OpenTelemetry(tracer_provider=traces.provider, separate_traces=True))

    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    worker_for(broker)
    send, process = traces.spans(2)
    assert process.parent is None
    assert process.context.trace_id != send.context.trace_id
    assert [link.context.span_id for link in process.links] == [id_of(send)]


def test_baggage_travels_along(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    seen: list[object] = []

    @pgqueue.actor
    def work() -> None:
        seen.append(baggage.get_baggage("tenant"))

    token = context.attach(baggage.set_baggage("tenant", "7"))
    work.send()
    context.detach(token)
    worker_for(traced)
    traces.spans(2)
    assert seen == ["7"]


@pytest.mark.parametrize(
    "odd", ["text", 7, {"traceparent": "nonsense", "due_ms": "soon"}, {"traceparent": 3}]
)
def test_a_context_that_can_not_be_read_begins_a_trace(
    stub_broker: StubBroker, traces: Traces, odd: object
) -> None:
    middleware = OpenTelemetry(tracer_provider=traces.provider)
    message = MessageProxy(Message("mail", "work", (), {}, {"trace_context": odd}))
    middleware.before_process_message(stub_broker, message)
    middleware.before_ack(stub_broker, message)
    (span,) = traces.spans(1)
    assert span.parent is None
    assert "pgqueue.wait_ms" not in attributes(span)


def test_a_skipped_message_says_so(traced: Broker, traces: Traces, worker_for: WorkerFor) -> None:
    class Skipping(pgqueue.Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            raise SkipMessage("no")

    traced.add_middleware(Skipping())

    @pgqueue.actor
    def work() -> None:
        raise AssertionError

    work.send()
    worker_for(traced)
    assert attributes(traces.spans(2)[1])["pgqueue.skipped"] is True


def test_a_message_that_is_not_sent_ends_its_span_with_an_error(
    postgres_broker: PostgresBroker, traces: Traces
) -> None:
    postgres_broker.max_message_size = 10
    postgres_broker.add_middleware(OpenTelemetry(tracer_provider=traces.provider))

    @pgqueue.actor
    def work(text: str) -> None:
        pass

    with pytest.raises(pgqueue.PgQueueError):
        work.send("x" * 100)
    gc.collect()
    (span,) = traces.spans(1)
    assert span.status.status_code is StatusCode.ERROR


def test_a_thread_that_lost_its_message_leaves_it_at_the_next(
    stub_broker: StubBroker, traces: Traces
) -> None:
    middleware = OpenTelemetry(tracer_provider=traces.provider)
    lost, following = (MessageProxy(Message("mail", "work", (), {}, {})) for _ in range(2))
    middleware.before_process_message(stub_broker, lost)
    middleware.before_process_message(stub_broker, following)
    middleware.before_ack(stub_broker, lost)
    middleware.before_ack(stub_broker, following)
    assert [parent_of(span) for span in traces.spans(2)] == [None, None]
    assert not trace.get_current_span().get_span_context().is_valid


APP = """
import pgqueue
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware.opentelemetry import OpenTelemetry
provider = TracerProvider()
exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
broker = PostgresBroker({url!r})
broker.add_middleware(OpenTelemetry(tracer_provider=provider))
pgqueue.set_broker(broker)

@pgqueue.actor
def work():
    pass
"""


@pytest.mark.slow
def test_a_trace_goes_from_process_to_process(
    tmp_path: Path,
    programs: list[Process],
    postgres_broker: PostgresBroker,
    database_url: str,
    traces: Traces,
) -> None:
    postgres_broker.add_middleware(OpenTelemetry(tracer_provider=traces.provider))

    @pgqueue.actor
    def work() -> None:
        raise AssertionError

    project = Project(tmp_path, programs)
    project.write("app.py", APP.format(url=database_url))
    program = project.start_workers()
    work.send()
    (send,) = traces.spans(1)

    def look() -> list[dict[str, Any]]:
        lines = [line for line in program.output.splitlines() if line.startswith("{")]
        assert lines, program.output
        return [json.loads(line) for line in lines]

    (process,) = eventually(look, within_s=15.0)
    assert int(process["parent_id"], 16) == id_of(send)
    assert int(process["context"]["trace_id"], 16) == send.context.trace_id
    assert stop(program) == 0
