"""The backend for Django's Tasks: what Django's own backends promise, on a real queue."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from pgqueue import _registry
from pgqueue.brokers.stub import StubBroker
from pgqueue.integrations.django._tasks_api import (
    TaskResultDoesNotExist,
    TaskResultStatus,
    signals,
    task_backends,
)
from pgqueue.integrations.django.test import PgQueueTestMixin
from pgqueue.integrations.django.transactions import DjangoBroker
from tests.conftest import WorkerFor
from tests.support.eventually import eventually

from .shop import tasks
from .shop.models import Order
from .shop.tasks import double

pytestmark = pytest.mark.usefixtures("django_broker")


def run(*, delayed: bool = False) -> int:
    return PgQueueTestMixin().run_messages(delayed=delayed)


def finished(result: Any) -> Any:
    """Run everything, and return the result as it is then."""
    with suppress(LookupError, TypeError, ImportError, ConnectionError):
        run()
    result.refresh()
    return result


class TestEnqueue:
    def test_a_task_is_ready_until_it_has_run(self) -> None:
        result = tasks.add.enqueue(1, other=2)
        assert result.status == TaskResultStatus.READY
        assert (result.args, result.kwargs, result.attempts) == ([1], {"other": 2}, 0)
        with pytest.raises(ValueError, match="not finished"):
            _ = result.return_value
        found = tasks.add.get_result(result.id)
        assert found == result
        assert found.enqueued_at is not None
        assert found.started_at is None

    def test_its_value_and_times_are_kept(self) -> None:
        result = finished(tasks.add.enqueue(1, other=2))
        assert result.status == TaskResultStatus.SUCCESSFUL
        assert result.return_value == 3
        assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
        assert result.attempts == 1
        assert result.errors == []
        assert result.is_finished

    def test_a_coroutine_is_run_and_its_value_made_json(self) -> None:
        assert finished(tasks.later.enqueue("x")).return_value == {"text": "x", "items": [1, 2]}

    def test_a_context_tells_of_the_attempt(self) -> None:
        result = finished(tasks.introduce.enqueue())
        assert result.return_value == [result.id, "RUNNING", 1, 1]

    def test_a_failure_is_kept_and_ends_among_the_dead_letters(self, django_broker: DjangoBroker) -> None:
        result = finished(tasks.fail.enqueue("gone"))
        assert result.status == TaskResultStatus.FAILED
        assert result.errors[0].exception_class is LookupError
        assert "in fail" in result.errors[0].traceback
        with pytest.raises(ValueError, match="failed"):
            _ = result.return_value

    def test_a_value_that_json_lacks_is_a_failure(self) -> None:
        result = finished(tasks.give_what_json_lacks.enqueue())
        assert result.status == TaskResultStatus.FAILED
        assert result.errors[0].exception_class is TypeError

    def test_arguments_that_json_lacks_are_refused(self) -> None:
        with pytest.raises(TypeError):
            tasks.add.enqueue(object())

    def test_a_retry_is_another_attempt(self) -> None:
        tasks.attempts.clear()
        result = tasks.succeed_at_third.enqueue()
        with pytest.raises(ConnectionError):
            run()
        result.refresh()
        assert result.status == TaskResultStatus.READY
        assert (result.attempts, len(result.errors)) == (1, 1)
        with pytest.raises(ConnectionError):
            run(delayed=True)
        run(delayed=True)
        result.refresh()
        assert tasks.attempts == [1, 2]
        assert (result.return_value, result.attempts, len(result.errors)) == (3, 3, 2)

    def test_async_clients(self, django_broker: DjangoBroker) -> None:
        async def play() -> Any:
            result = await tasks.add.aenqueue(1, 2)
            return await tasks.add.aget_result(result.id)

        assert asyncio.run(play()).status == TaskResultStatus.READY
        assert run() == 1


class TestOrder:
    def test_higher_priorities_run_first(self) -> None:
        low = tasks.add.using(priority=-5).enqueue(1)
        middle = tasks.add.enqueue(2)
        high = tasks.urgent.enqueue()
        run()
        ran = sorted(
            [low, middle, high], key=lambda result: tasks.add.get_backend().get_result(result.id).started_at
        )
        assert [result.id for result in ran] == [high.id, middle.id, low.id]

    def test_run_after_is_heeded(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        result = tasks.add.using(run_after=later).enqueue(1)
        assert run() == 0
        found = tasks.add.get_result(result.id)
        assert found.status == TaskResultStatus.READY
        assert found.task.run_after == later
        assert run(delayed=True) == 1
        assert tasks.add.get_result(result.id).return_value == 1

    def test_queues_are_those_of_the_setting(self, django_broker: DjangoBroker) -> None:
        tasks.urgent.enqueue()
        assert django_broker.get_queue_message_counts("slow")[0] == 1
        assert "slow" in django_broker.get_declared_queues()
        with pytest.raises(Exception, match="'elsewhere' is not valid"):
            tasks.add.using(queue_name="elsewhere")


class TestTransactions:
    def test_a_task_is_sent_by_the_commit(self, django_broker: DjangoBroker) -> None:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            assert tasks.add.get_result(result.id).status == TaskResultStatus.READY
            assert django_broker.get_queue_message_counts("default")[0] == 0
        assert django_broker.get_queue_message_counts("default")[0] == 1

    def test_a_task_of_a_rollback_never_was(self) -> None:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            transaction.set_rollback(True)
        with pytest.raises(TaskResultDoesNotExist):
            tasks.add.get_result(result.id)

    def test_a_backend_may_send_after_the_commit(self, django_broker: DjangoBroker) -> None:
        task = tasks.add.using(backend="after_commit")
        with transaction.atomic():
            result = task.enqueue(1)
            assert not result.enqueued_at
            with pytest.raises(TaskResultDoesNotExist):
                task.get_result(result.id)
        assert result.enqueued_at is not None
        assert task.get_result(result.id).backend == "after_commit"


class TestResults:
    @pytest.mark.parametrize("unknown", ["no such thing", "6f2f9ab7-0000-4000-8000-1d6a43d8ae9e"])
    def test_what_is_not_there_is_told_apart(self, unknown: str) -> None:
        with pytest.raises(TaskResultDoesNotExist):
            tasks.add.get_result(unknown)

    def test_a_message_of_an_actor_is_no_task(self) -> None:
        message = double.send(1)
        with pytest.raises(TaskResultDoesNotExist):
            tasks.add.get_result(message.message_id)

    def test_a_result_belongs_to_its_task(self) -> None:
        result = tasks.add.enqueue(1)
        with pytest.raises(Exception, match="does not match"):
            tasks.later.get_result(result.id)

    def test_a_task_that_is_no_more_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        result = tasks.add.enqueue(1)
        with monkeypatch.context() as patch:
            patch.delattr(tasks, "add")
            with pytest.raises(ImportError):
                run()
        result.refresh()
        assert result.status == TaskResultStatus.FAILED
        assert result.errors[0].exception_class is ImportError

    def test_signals_are_sent(self) -> None:
        heard: list[str] = []

        def hear(sender: object, task_result: Any, signal: object, **_more: object) -> None:
            heard.append(f"{names[id(signal)]} {task_result.status}")

        names = {
            id(getattr(signals, name)): name for name in ("task_enqueued", "task_started", "task_finished")
        }
        for name in names.values():
            getattr(signals, name).connect(hear, weak=False)
        try:
            finished(tasks.fail.enqueue("gone"))
        finally:
            for name in names.values():
                getattr(signals, name).disconnect(hear)
        assert heard == ["task_enqueued READY", "task_started RUNNING", "task_finished FAILED"]

    def test_a_broker_without_a_database_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(_registry._home, "global_broker", StubBroker())
        with pytest.raises(
            ImproperlyConfigured, match="needs a PostgresBroker, but this process has a StubBroker"
        ):
            tasks.add.enqueue(1)

    def test_the_backend_finds_its_app_installed(self) -> None:
        assert list(task_backends["default"].check()) == []


class TestWorkers:
    def test_a_worker_runs_tasks(self, django_broker: DjangoBroker, worker_for: WorkerFor) -> None:
        worker_for(django_broker, worker_threads=2)
        with transaction.atomic():
            result = tasks.add.enqueue(20, 22)
            tasks.place.enqueue(5)
            failed = tasks.fail.enqueue("gone")

        def done() -> None:
            for one in (result, failed):
                one.refresh()
                assert one.is_finished
            assert Order.objects.filter(number=5).exists()

        eventually(done, within_s=20)
        assert result.return_value == 42
        assert failed.status == TaskResultStatus.FAILED

        def dead() -> None:
            assert django_broker.get_queue_message_counts("default") == (0, 0, 1)

        eventually(dead)

    def test_one_that_runs_is_running(self, django_broker: DjangoBroker) -> None:
        result = tasks.add.enqueue(1)
        consumer = django_broker.consume("default", timeout=10_000)
        try:
            message = next(consumer)
            assert message is not None
            result.refresh()
            assert result.status == TaskResultStatus.RUNNING
            assert result.attempts == 1
            assert result.started_at is not None
            message.fail()
            consumer.nack(message)
            result.refresh()
        finally:
            consumer.close()
        assert result.status == TaskResultStatus.FAILED
        assert "failed" in result.errors[0].traceback
