"""Running Django's tasks in workers: one actor for all of them, and the hooks that keep what becomes of each."""

from __future__ import annotations

import os
import socket
import threading
from types import SimpleNamespace
from typing import Any

from ...actor import Actor
from ...broker import Broker, MessageProxy
from ...errors import ResultMissing
from ...message import Message
from ...middleware import Middleware, Retries
from ._task_records import error_of, from_record, now, result_of, to_record
from ._tasks_api import TaskContext, TaskResultStatus, normalize_json, signals, task_backends

__all__ = ["ACTOR", "DEFAULT_RESULT_TTL_S", "declare", "key_of", "worker_id"]

#: The actor that runs tasks.
ACTOR = "django.task"

#: Seconds for which results are kept unless ``OPTIONS["RESULT_TTL"]`` says otherwise: a day.
DEFAULT_RESULT_TTL_S = 86_400


def declare(broker: Broker) -> None:
    """Make the actor and its hooks known to a broker; once is enough."""
    if ACTOR in broker.actors:
        return
    runs = TaskRuns()
    retries = any(isinstance(one, Retries) for one in broker.middleware)
    # Before Retries, so that its after-hook comes later, when it is decided whether there is another attempt.
    broker.add_middleware(runs, before=Retries if retries else None)
    options = {"store_results": False} if "store_results" in broker.actor_options else {}
    Actor(runs.run, broker=broker, actor_name=ACTOR, queue_name="default", priority=0, options=options)


def key_of(task_id: str) -> Message[Any]:
    """Return the message in whose name a task's result is kept; the queue of the real one is not known by the id."""
    return Message("default", ACTOR, (), {}, {}, message_id=task_id)


def worker_id() -> str:
    """Return this process's name, as workers are registered."""
    return f"{socket.gethostname()}:{os.getpid()}"


class TaskRuns(Middleware):
    """Follows the messages of the actor, each through the thread that runs it."""

    def __init__(self) -> None:
        self._thread = threading.local()

    def run(self, **request: Any) -> None:
        """Be the actor: run a task."""
        result = self._thread.result = self._begin(request)
        signals.task_started.send(type(task_backends[request["backend"]]), task_result=result)
        context = [TaskContext(task_result=result)] if result.task.takes_context else []
        value = result.task.call(*context, *result.args, **result.kwargs)
        object.__setattr__(result, "_return_value", normalize_json(value))

    def _begin(self, request: dict[str, Any]) -> Any:
        message, earlier, started = self._thread.message, self._thread.earlier, now()
        return result_of(
            request,
            id=message.message_id,
            status=TaskResultStatus.RUNNING,
            enqueued_at=message.message_datetime,
            started_at=started if earlier is None else earlier.started_at,
            last_attempted_at=started,
            errors=[] if earlier is None else earlier.errors,
            worker_ids=[*([] if earlier is None else earlier.worker_ids), worker_id()],
        )

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Note which message this thread runs."""
        if message.actor_name == ACTOR:
            self._thread.message, self._thread.result = message, None
            self._thread.earlier = _earlier(broker, message) if message.options.get("retries") else None

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Keep what has become of the task, in the commit that acknowledges its message."""
        if message.actor_name != ACTOR:
            return
        # None if it did not get as far as to be a task: there is none of that name, perhaps.
        found = self._thread.result or SimpleNamespace(
            enqueued_at=message.message_datetime, started_at=None, last_attempted_at=now(), finished_at=None,
            errors=[], worker_ids=[worker_id()], status=None, _return_value=None,
        )  # fmt: skip
        self._thread.result = self._thread.message = self._thread.earlier = None
        retried = exception is not None and not message.failed and _retries(broker)
        _finish(found, exception, retried=retried)
        backend = task_backends[message.kwargs["backend"]]
        ttl_s = backend.options.get("RESULT_TTL", DEFAULT_RESULT_TTL_S)
        broker.get_results_backend().store_result(
            key_of(message.message_id), to_record(message.kwargs, found), int(ttl_s * 1000)
        )
        if not retried and not isinstance(found, SimpleNamespace):
            signals.task_finished.send(type(backend), task_result=found)


def _finish(result: Any, exception: BaseException | None, *, retried: bool) -> None:
    """Note how an attempt has ended."""
    if exception is not None:
        result.errors.append(error_of(exception))
    if retried:
        status = TaskResultStatus.READY
    else:
        status = TaskResultStatus.SUCCESSFUL if exception is None else TaskResultStatus.FAILED
        object.__setattr__(result, "finished_at", now())
    object.__setattr__(result, "status", status)


def _earlier(broker: Broker, message: MessageProxy) -> Any:
    """What the attempt before this one has left."""
    try:
        record = broker.get_results_backend().get_result(key_of(message.message_id))
    except ResultMissing:
        return None
    return from_record(record, id=message.message_id)


def _retries(broker: Broker) -> bool:
    return any(isinstance(one, Retries) for one in broker.middleware)
