"""The base class and the list of default middleware."""

from __future__ import annotations

import inspect

import pytest

from pgqueue import middleware
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import PgQueueError
from pgqueue.middleware import Middleware, MiddlewareError, SkipMessage, default_middleware, threading

HOOKS = {
    "after_process_boot": [],
    "before_worker_boot": ["worker"],
    "after_worker_boot": ["worker"],
    "before_worker_shutdown": ["worker"],
    "after_worker_shutdown": ["worker"],
    "after_worker_thread_boot": ["thread"],
    "before_worker_thread_shutdown": ["thread"],
    "after_consumer_thread_boot": ["thread"],
    "before_consumer_thread_shutdown": ["thread"],
    "before_declare_actor": ["actor"],
    "after_declare_actor": ["actor"],
    "before_declare_queue": ["queue_name"],
    "after_declare_queue": ["queue_name"],
    "after_declare_delay_queue": ["queue_name"],
    "before_enqueue": ["message", "delay"],
    "after_enqueue": ["message", "delay"],
    "before_delay_message": ["message"],
    "before_process_message": ["message"],
    "after_process_message": ["message", "result", "exception"],
    "after_skip_message": ["message"],
    "before_ack": ["message"],
    "after_ack": ["message"],
    "before_nack": ["message"],
    "after_nack": ["message"],
}


def test_there_are_twenty_four_hooks() -> None:
    hooks = {name for name in dir(Middleware) if name.startswith(("before_", "after_"))}
    assert hooks == set(HOOKS)
    assert len(hooks) == 24


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_a_hook_is_given_the_broker_first(hook: str) -> None:
    parameters = list(inspect.signature(getattr(Middleware, hook)).parameters)
    assert parameters == ["self", "broker", *HOOKS[hook]]


def test_the_base_class_adds_nothing() -> None:
    assert Middleware().actor_options == set()
    assert Middleware().forks == []


def test_the_default_middleware_in_its_order() -> None:
    assert [each.__name__ for each in default_middleware] == [
        "AgeLimit",
        "TimeLimit",
        "ShutdownNotifications",
        "Callbacks",
        "Pipelines",
        "Retries",
    ]


def test_the_options_of_the_default_middleware() -> None:
    assert StubBroker().actor_options == {
        "max_age",
        "time_limit",
        "notify_shutdown",
        "on_success",
        "on_failure",
        "pipe_target",
        "pipe_ignore",
        "max_retries",
        "min_backoff",
        "max_backoff",
        "retry_when",
        "throws",
        "on_retry_exhausted",
    }


def test_default_middleware_defines_no_hook_that_does_nothing() -> None:
    """A broker calls only what is overridden, so that this is what each message pays for."""
    overridden = [hook for each in default_middleware for hook in HOOKS if hook in vars(each)]
    assert overridden.count("before_process_message") == 3
    assert overridden.count("after_process_message") == 5
    assert overridden.count("after_skip_message") == 2
    assert not {"before_enqueue", "after_enqueue", "before_ack", "after_ack"} & set(overridden)


def test_the_public_names_are_dramatiqs() -> None:
    assert set(middleware.__all__) == {
        "AgeLimit",
        "AsyncIO",
        "Callbacks",
        "CurrentMessage",
        "GroupCallbacks",
        "Interrupt",
        "Middleware",
        "MiddlewareError",
        "Pipelines",
        "Retries",
        "Shutdown",
        "ShutdownNotifications",
        "SkipMessage",
        "TimeLimit",
        "TimeLimitExceeded",
        "default_middleware",
        "raise_thread_exception",
    }
    assert set(threading.__all__) == {
        "Interrupt",
        "current_platform",
        "is_gevent_active",
        "raise_thread_exception",
        "supported_platforms",
    }


def test_errors_of_middleware_are_none_of_the_packages_errors() -> None:
    assert issubclass(SkipMessage, MiddlewareError)
    assert not issubclass(MiddlewareError, PgQueueError)
