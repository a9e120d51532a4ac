"""What is kept of a task of Django's: in its message while it waits, with its result when it has run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from traceback import format_exception
from typing import Any

from django.utils.module_loading import import_string

from ._tasks_api import Task, TaskError, TaskResult, TaskResultStatus

__all__ = ["error_of", "from_record", "now", "request_of", "result_of", "to_record"]

TIMES = ("enqueued_at", "started_at", "finished_at", "last_attempted_at")


def request_of(task: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return what a worker needs to run a task, and others to show it; all of it JSON."""
    return {
        "task": task.module_path,
        "args": args,
        "kwargs": kwargs,
        "backend": task.backend,
        "queue_name": task.queue_name,
        "priority": task.priority,
        "run_after": None if task.run_after is None else task.run_after.isoformat(),
    }


def result_of(request: Mapping[str, Any], *, id: str, **known: Any) -> Any:  # noqa: A002  # as Django calls it
    """Return a TaskResult of what was asked for, with what else is known of it.

    Raises:
      ImportError: There is no such task any more.
    """
    fields = {name: known.pop(name, None) for name in TIMES}
    result = TaskResult(
        task=_task_of(request),
        id=id,
        args=list(request["args"]),
        kwargs=dict(request["kwargs"]),
        backend=request["backend"],
        status=known.pop("status", TaskResultStatus.READY),
        errors=known.pop("errors", []),
        worker_ids=known.pop("worker_ids", []),
        **fields,
    )
    object.__setattr__(result, "_return_value", known.pop("return_value", None))
    return result


def to_record(request: Mapping[str, Any], result: Any) -> dict[str, Any]:
    """Return a result as JSON."""
    times = {name: getattr(result, name) for name in TIMES}
    return {
        "request": dict(request),
        "status": str(result.status.value),
        "errors": [[error.exception_class_path, error.traceback] for error in result.errors],
        "worker_ids": list(result.worker_ids),
        "return_value": result._return_value,  # noqa: SLF001  # Django's own backends set it so
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
    }


def from_record(record: Mapping[str, Any], *, id: str) -> Any:  # noqa: A002  # as Django calls it
    """Return the result that a record was made of."""
    return result_of(
        record["request"],
        id=id,
        status=TaskResultStatus(record["status"]),
        errors=[TaskError(exception_class_path=path, traceback=text) for path, text in record["errors"]],
        worker_ids=list(record["worker_ids"]),
        return_value=record["return_value"],
        **{name: _time(record[name]) for name in TIMES},
    )


def error_of(exception: BaseException) -> Any:
    """Return what Django keeps of an exception."""
    kind = type(exception)
    return TaskError(
        exception_class_path=f"{kind.__module__}.{kind.__qualname__}",
        traceback="".join(format_exception(exception)),
    )


def now() -> datetime:
    """Return the present instant, as Django has it with ``USE_TZ``."""
    return datetime.now(UTC)


def _task_of(request: Mapping[str, Any]) -> Any:
    # As the database backend of django-tasks does: a task is known by nothing but its path, which leads to any module.
    task = import_string(request["task"])
    if not isinstance(task, Task):
        raise ImportError(f"{request['task']} is not a task (any more).")
    return task.using(
        priority=request["priority"],
        queue_name=request["queue_name"],
        backend=request["backend"],
        run_after=_time(request["run_after"]),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
