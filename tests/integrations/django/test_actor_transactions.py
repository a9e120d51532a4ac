"""Django's ORM inside of transactional actors: everything is one commit with the acknowledgement."""

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.db.models.functions import Now
from django.test import override_settings

import pgqueue
from pgqueue.errors import TransactionEnded
from pgqueue.integrations.django.transactions import DjangoBroker
from tests.conftest import WorkerFor

from .shop.models import Order
from .shop.tasks import double

Run = Callable[[Callable[[], None]], None]


@pytest.fixture
def run(django_broker: DjangoBroker, worker_for: WorkerFor) -> Iterator[Run]:
    """Run a body as a transactional actor, by a worker, until its message has ended."""
    bodies: list[Callable[[], None]] = []

    @pgqueue.actor(transactional=True, max_retries=0, actor_name="body")
    def body() -> None:
        bodies[0]()

    def run_it(given: Callable[[], None]) -> None:
        bodies[:] = [given]
        body.send()
        worker = worker_for(django_broker, worker_threads=1, queues={"default"})
        django_broker.join("default", timeout=20_000)
        worker.stop()

    yield run_it
    del django_broker.actors["body"]


def dead(broker: DjangoBroker) -> int:
    return broker.get_queue_message_counts("default")[2]


def numbers() -> list[int]:
    return list(Order.objects.order_by("number").values_list("number", flat=True))


class TestForks:
    def test_a_process_that_the_body_forks_has_connections_of_its_own(
        self, run: Run, django_broker: DjangoBroker
    ) -> None:
        ended: list[int | None] = []

        def child() -> None:
            Order.objects.create(number=2)
            double.send(2)

        def body() -> None:
            Order.objects.create(number=1)
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join(20)
            ended.append(process.exitcode)
            assert numbers() == [1, 2]
            raise LookupError

        run(body)
        assert ended == [0]
        assert numbers() == [2]
        assert dead(django_broker) == 1


class TestCommit:
    def test_rows_and_messages_commit_with_the_ack(self, run: Run, django_broker: DjangoBroker) -> None:
        seen: list[Any] = []

        def body() -> None:
            Order.objects.create(number=1)
            double.send(1)
            pgqueue.current_transaction().connection.execute("UPDATE shop_order SET number = number + 1")
            with connection.cursor() as cursor:
                cursor.execute("SELECT current_setting('pgqueue.message_id', true)")
                seen.append(cursor.fetchone()[0])
            seen.append(pgqueue.current_transaction().message_id)
            seen.append(numbers())

        run(body)
        assert numbers() == [2]
        assert seen[0] == seen[1]
        assert seen[2] == [2]
        assert dead(django_broker) == 0

    def test_an_exception_undoes_everything(self, run: Run, django_broker: DjangoBroker) -> None:
        def body() -> None:
            Order.objects.create(number=1)
            raise LookupError

        run(body)
        assert numbers() == []
        assert dead(django_broker) == 1

    def test_a_body_that_asks_for_nothing_begins_no_transaction(self, run: Run) -> None:
        begun: list[bool] = []

        def body() -> None:
            begun.append(connections["default"].connection is None)

        run(body)
        assert begun == [True]

    def test_blocks_are_savepoints(self, run: Run) -> None:
        def body() -> None:
            with transaction.atomic():
                Order.objects.create(number=1)
            with pytest.raises(IntegrityError), transaction.atomic():
                Order.objects.create(number=None)
            Order.objects.create(number=3)

        run(body)
        assert numbers() == [1, 3]

    def test_hooks_of_the_commit_are_called_after_it(self, run: Run) -> None:
        seen: list[Any] = []

        def body() -> None:
            Order.objects.create(number=1)
            transaction.on_commit(lambda: seen.append(numbers()))
            transaction.on_commit(lambda: seen.append(connection.in_atomic_block))
            with suppress(LookupError), transaction.atomic():
                transaction.on_commit(lambda: seen.append("rolled back"))
                raise LookupError
            seen.append("body")

        run(body)
        assert seen == ["body", [1], False]

    def test_hooks_of_a_rollback_are_not_called(self, run: Run) -> None:
        seen: list[Any] = []

        def body() -> None:
            transaction.on_commit(lambda: seen.append("called"))
            raise LookupError

        run(body)
        assert seen == []

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_instants_are_as_django_has_them(self, use_tz: bool, run: Run) -> None:
        seen: list[Any] = []
        moment = "SELECT timestamptz '2026-01-01 12:00:00+00'"

        def body() -> None:
            tx = pgqueue.current_transaction()
            with tx.connection.transaction(force_rollback=True):
                Order.objects.count()
            tx.connection.execute("SET LOCAL TimeZone = 'Asia/Tokyo'")
            with connection.cursor() as cursor:
                cursor.execute(moment)
                seen.append(cursor.fetchone()[0])
                cursor.execute("SELECT now()")
            Order.objects.annotate(now=Now()).first()

        with override_settings(USE_TZ=use_tz, TIME_ZONE="UTC"):
            run(body)
        expected = datetime(2026, 1, 1, 12, tzinfo=UTC)
        assert seen == [expected if use_tz else expected.replace(tzinfo=None)]


class TestRefused:
    @pytest.mark.parametrize("end", ["commit", "rollback", "set_autocommit"])
    def test_the_body_cannot_end_it(self, end: str, run: Run, django_broker: DjangoBroker) -> None:
        raised: list[BaseException] = []

        def body() -> None:
            Order.objects.create(number=1)
            try:
                transaction.set_autocommit(True) if end == "set_autocommit" else getattr(transaction, end)()
            except (DatabaseError, TransactionEnded) as error:
                raised.append(error)

        run(body)
        assert len(raised) == 1
        assert numbers() == [1]

    def test_a_close_is_refused(self, run: Run, django_broker: DjangoBroker) -> None:
        def body() -> None:
            Order.objects.create(number=1)
            connection.close()

        run(body)
        assert numbers() == []
        assert dead(django_broker) == 1

    def test_what_django_wants_rolled_back_is(self, run: Run, django_broker: DjangoBroker) -> None:
        def body() -> None:
            Order.objects.create(number=1)
            transaction.set_rollback(True)

        run(body)
        assert numbers() == []
        assert dead(django_broker) == 1


class TestAfterwards:
    def test_the_connection_is_djangos_own_again(self, run: Run) -> None:
        own = connections["default"]
        run(lambda: None)
        assert connections["default"] is own
        Order.objects.create(number=5)
        assert numbers() == [5]
