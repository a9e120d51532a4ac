"""Where Dramatiq's programs import what from, and how they call it: names and signatures, module by module."""

from __future__ import annotations

import importlib
import inspect
from itertools import takewhile
from typing import Any

import pytest

from pgqueue.middleware import Middleware

#: What each module must have, as Dramatiq 2.2's of the same name has.
NAMES = {
    "actor": "Actor actor",
    "broker": "Broker Consumer MessageProxy get_broker set_broker global_broker",
    "message": "Message get_encoder set_encoder generate_unique_id global_encoder",
    "encoder": "Encoder JSONEncoder PickleEncoder MessageData",
    "errors": "ActorNotFound BrokerConnectionError BrokerError ConnectionClosed ConnectionFailed DecodeError "
    "DramatiqError MiddlewareError QueueJoinTimeout QueueNotFound RateLimitExceeded ResultError "
    "ResultFailure ResultMissing ResultTimeout Retry SkipMessage",
    "middleware": "Middleware MiddlewareError SkipMessage Interrupt raise_thread_exception AgeLimit AsyncIO "
    "Callbacks CurrentMessage GroupCallbacks Pipelines Retries Shutdown ShutdownNotifications TimeLimit "
    "TimeLimitExceeded default_middleware",
    "middleware.age_limit": "AgeLimit",
    "middleware.asyncio": "AsyncIO",
    "middleware.callbacks": "Callbacks",
    "middleware.current_message": "CurrentMessage",
    "middleware.group_callbacks": "GroupCallbacks",
    "middleware.middleware": "Middleware MiddlewareError SkipMessage",
    "middleware.pipelines": "Pipelines",
    "middleware.prometheus": "Prometheus",
    "middleware.retries": "Retries",
    "middleware.shutdown": "Shutdown ShutdownNotifications",
    "middleware.threading": "Interrupt current_platform is_gevent_active raise_thread_exception "
    "supported_platforms",
    "middleware.time_limit": "TimeLimit TimeLimitExceeded",
    "results": "Missing ResultBackend ResultError ResultFailure ResultTimeout ResultMissing Results",
    "results.backends": "StubBackend PostgresBackend",
    "rate_limits": "RateLimiterBackend RateLimiter RateLimitExceeded Barrier BucketRateLimiter "
    "ConcurrentRateLimiter WindowRateLimiter",
    "rate_limits.backends": "StubBackend PostgresBackend",
    "brokers.stub": "StubBroker",
    "brokers.postgres": "PostgresBroker",
    "worker": "Worker ConsumerThread WorkerThread _ConsumerThread _WorkerThread QUEUE_PREFETCH "
    "DELAY_QUEUE_PREFETCH CONSUMER_RESTART_DELAY",
    "composition": "group pipeline",
    "generic": "GenericActor generic_actor",
    "asyncio": "EventLoopThread async_to_sync get_event_loop_thread set_event_loop_thread",
    "threading": "Interrupt current_platform is_gevent_active raise_thread_exception supported_platforms",
    "common": "compute_backoff current_millis dq_name getenv_int iter_queue join_all join_queue q_name xq_name",
    "logging": "get_logger",
    "cli": "main make_argument_parser import_broker import_object",
    "watcher": "setup_file_watcher",
}

SIGNATURES = {
    "actor:actor": "fn=None, *, actor_class=Actor, actor_name=None, queue_name='default', priority=0, "
    "broker=None, **options",
    "actor:Actor": "fn, *, broker, actor_name, queue_name, priority, options",
    "actor:Actor.message": "*args, **kwargs",
    "actor:Actor.message_with_options": "*, args=(), kwargs=None, **options",
    "actor:Actor.send": "*args, **kwargs",
    "actor:Actor.send_with_options": "*, args=(), kwargs=None, delay=None, **options",
    "message:Message": "queue_name, actor_name, args, kwargs, options, message_id=None, message_timestamp=None",
    "message:Message.copy": "**attributes",
    "message:Message.get_result": "*, backend=None, block=False, timeout=None",
    "broker:Broker": "middleware=None",
    "broker:Broker.add_middleware": "middleware, *, before=None, after=None",
    "broker:Broker.emit_before": "signal, *args, **kwargs",
    "broker:Broker.emit_after": "signal, *args, **kwargs",
    "broker:Broker.consume": "queue_name, prefetch=1, timeout=30000",
    "broker:Broker.enqueue": "message, *, delay=None",
    "broker:Broker.join": "queue_name, *, timeout=None",
    "brokers.stub:StubBroker": "middleware=None, *, fail_fast_default=True",
    "brokers.stub:StubBroker.consume": "queue_name, prefetch=1, timeout=100",
    "brokers.stub:StubBroker.enqueue": "message, *, delay=None",
    "brokers.stub:StubBroker.join": "queue_name, *, timeout=None, fail_fast=None",
    "brokers.postgres:PostgresBroker.consume": "queue_name, prefetch=1, timeout=5000",
    "brokers.postgres:PostgresBroker.enqueue": "message, *, delay=None",
    "brokers.postgres:PostgresBroker.join": "queue_name, *, timeout=None, interval=100",
    "worker:Worker": "broker, *, queues=None, worker_timeout=1000, worker_threads=8",
    "worker:Worker.stop": "timeout=600000",
    "middleware:AgeLimit": "*, max_age=None",
    "middleware:TimeLimit": "*, time_limit=600000, interval=1000",
    "middleware:ShutdownNotifications": "notify_shutdown=False",
    "middleware:Callbacks": "",
    "middleware:Pipelines": "",
    "middleware:Retries": "*, max_retries=20, min_backoff=None, max_backoff=None, retry_when=None",
    "middleware:CurrentMessage": "",
    "middleware:AsyncIO": "",
    "middleware:GroupCallbacks": "rate_limiter_backend, *, barrier_ttl=86400000",
    "middleware.prometheus:Prometheus": "",
    "results:Results": "*, backend, store_results=False, result_ttl=None",
    "asyncio:EventLoopThread": "logger, interrupt_check_ival=0.1",
    "asyncio:EventLoopThread.start": "*, timeout=None",
    "threading:raise_thread_exception": "thread_id, exception",
    "common:compute_backoff": "attempts, *, factor=5, jitter=True, max_backoff=2000, max_exponent=32",
    "common:join_queue": "queue, timeout=None",
    "common:join_all": "joinables, timeout=None",
    "logging:get_logger": "module, name=None",
    "errors:DecodeError": "message, data, error",
    "errors:Retry": "message='', delay=None",
    "errors:ResultFailure": "message='', orig_exc_type='', orig_exc_msg=''",
}


def import_(module: str) -> Any:
    return importlib.import_module(f"pgqueue.{module}")


def shape(signature: inspect.Signature) -> list[str]:
    """The parameters of a signature without their types."""
    bare = [
        each.replace(annotation=each.empty) for each in signature.parameters.values() if each.name != "self"
    ]
    text = str(inspect.Signature(bare))[1:-1].replace("<class 'pgqueue.actor.Actor'>", "Actor")
    return parts(text)


def parts(text: str) -> list[str]:
    """The parameters that a text lists."""
    return text.split(", ") if text else []


@pytest.mark.parametrize("module", NAMES)
def test_a_module_has_the_names_that_programs_import(module: str) -> None:
    imported = import_(module)
    assert [name for name in NAMES[module].split() if not hasattr(imported, name)] == []


@pytest.mark.parametrize("named", SIGNATURES)
def test_what_programs_call_takes_the_same_arguments(named: str) -> None:
    module, _, path = named.partition(":")
    called = import_(module)
    for name in path.split("."):
        called = getattr(called, name)
    found, wanted = shape(inspect.signature(called)), parts(SIGNATURES[named])
    assert [each for each in found if each in wanted] == wanted
    # Ours may have more, which nobody needs to know of: optional ones, behind those that can be given by position.
    by_position = list(takewhile(lambda each: not each.startswith("*"), wanted))
    assert found[: len(by_position)] == by_position
    assert all("=" in each for each in found if each not in (*wanted, "*"))


def test_prometheus_is_not_among_the_names_of_middleware() -> None:
    assert not hasattr(import_("middleware"), "Prometheus")


def test_hooks_take_their_arguments_by_position_and_outcomes_by_name() -> None:
    hook = inspect.signature(Middleware.after_process_message)
    assert shape(hook) == ["broker", "message", "*", "result=None", "exception=None"]
