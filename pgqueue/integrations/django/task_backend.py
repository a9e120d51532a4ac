"""A backend for Django's Tasks: ``"BACKEND": "pgqueue.integrations.django.task_backend.TaskBackend"`` in ``TASKS``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.apps import apps
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from ..._registry import get_broker
from ...brokers.postgres import PostgresBroker
from ...errors import ResultMissing
from ...message import Message
from ...storage.lookup import FoundMessage, find
from .._inline import perform_here
from ._task_records import from_record, request_of, result_of
from ._task_runs import ACTOR, declare, key_of
from ._tasks_api import (
    BaseTaskBackend,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    signals,
    task_backends,
)
from .transactions import DjangoBroker

__all__ = ["TaskBackend", "declare_all"]


class TaskBackend(BaseTaskBackend):
    """Sends tasks as messages, which pgqueue's workers run.

    A task that is enqueued inside of ``atomic()`` is sent by its commit, together with everything else in it. Tasks
    that fail are not tried again unless told so, and go to the dead letters.

    ``OPTIONS`` in ``TASKS``:
      ``MAX_RETRIES``: How often a task that has failed is tried again. Default: 0.
      ``RESULT_TTL``: Seconds for which results are kept. Default: a day.
      ``ENQUEUE_ON_COMMIT``: Whether a task is sent after the commit of a transaction, instead of by it. Default: no.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        declare(self.broker)
        for queue_name in self.queues:
            self.broker.declare_queue(queue_name)

    @property
    def broker(self) -> PostgresBroker:
        """Where the messages go.

        Raises:
          ImproperlyConfigured: The process's broker keeps its messages elsewhere than in PostgreSQL.
        """
        broker = get_broker()
        if not isinstance(broker, PostgresBroker):
            raise ImproperlyConfigured(
                f"The task backend '{self.alias}' needs a PostgresBroker, but this process has a "
                f"{type(broker).__name__}: leave the broker to the app pgqueue.integrations.django."
            )
        return broker

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Send a task; return its result as it is known now."""
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id="",
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        message = self._message(task, result)
        object.__setattr__(result, "id", message.message_id)
        if self.options.get("ENQUEUE_ON_COMMIT"):
            transaction.on_commit(lambda: self._send(message, result), using=self._alias())
        else:
            self._send(message, result)
        return result

    def get_result(self, result_id: str) -> Any:
        """Return the result of a task.

        Raises:
          TaskResultDoesNotExist: There is no such task, or its result was kept long enough.
        """
        record = self._record(str(result_id))
        if record is not None and record["status"] != TaskResultStatus.READY.value:
            return from_record(record, id=result_id)
        found = perform_here(self.broker, find(str(result_id)))
        if found is None:
            # It may have ended between the two looks.
            record = self._record(str(result_id))
            if record is None:
                raise TaskResultDoesNotExist(result_id)
            return from_record(record, id=result_id)
        message = Message.decode(found.payload)
        if message.actor_name != ACTOR:
            raise TaskResultDoesNotExist(result_id)
        return _unfinished(message, found, record)

    def check(self, **_kwargs: Any) -> Iterable[Any]:
        """Tell what keeps this backend from working."""
        if not apps.is_installed("pgqueue.integrations.django"):
            yield checks.Error(
                f"The task backend '{self.alias}' needs pgqueue's app.",
                hint="Add 'pgqueue.integrations.django' to INSTALLED_APPS.",
                id="pgqueue.E001",
            )

    def _message(self, task: Any, result: Any) -> Message[Any]:
        # Django's higher priorities run first, ours last.
        options = {"priority": -task.priority, "max_retries": self.options.get("MAX_RETRIES", 0)}
        if task.run_after is not None:
            options["eta"] = int(task.run_after.timestamp() * 1000)
        return Message(task.queue_name, ACTOR, (), request_of(task, result.args, result.kwargs), options)

    def _send(self, message: Message[Any], result: Any) -> None:
        self.broker.enqueue(message)
        object.__setattr__(result, "enqueued_at", message.message_datetime)
        signals.task_enqueued.send(type(self), task_result=result)

    def _alias(self) -> str | None:
        return self.broker.alias if isinstance(self.broker, DjangoBroker) else None

    def _record(self, result_id: str) -> dict[str, Any] | None:
        try:
            record: dict[str, Any] = self.broker.get_results_backend().get_result(key_of(result_id))
        except ResultMissing:
            return None
        return record


def _unfinished(message: Message[Any], found: FoundMessage, record: dict[str, Any] | None) -> Any:
    """A task that waits, runs, or whose message has died without a run's end: its worker was killed, perhaps."""
    earlier = None if record is None else from_record(record, id=message.message_id)
    since = None if found.since is None else datetime.fromtimestamp(found.since, UTC)
    errors = [] if earlier is None else earlier.errors
    workers = [] if earlier is None else earlier.worker_ids
    known: dict[str, Any] = {"enqueued_at": message.message_datetime}
    if found.status == "running":
        known |= {"status": TaskResultStatus.RUNNING, "last_attempted_at": since}
        known["started_at"] = since if earlier is None else earlier.started_at
        workers = [*workers, found.worker or "unknown"]
    elif found.status == "failed":
        known |= {"status": TaskResultStatus.FAILED, "finished_at": since}
        errors = [
            *errors,
            TaskError(exception_class_path="builtins.RuntimeError", traceback=found.error or ""),
        ]
    elif earlier is not None:
        known |= {"started_at": earlier.started_at, "last_attempted_at": earlier.last_attempted_at}
    return result_of(message.kwargs, id=message.message_id, errors=errors, worker_ids=workers, **known)


def declare_all() -> None:
    """Make the queues of all backends of ours in ``TASKS`` known, so that workers serve them."""
    for alias in task_backends:
        # Django makes a backend when it is first asked for.
        task_backends[alias]
