"""What is sent inside of atomic() is sent by its commit."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import connection, transaction
from django.test import override_settings

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import TransactionError
from pgqueue.integrations.django.broker import make_broker
from pgqueue.integrations.django.transactions import DjangoBroker, open_transaction
from pgqueue.transactions import outside_transaction
from tests.conftest import WorkerFor
from tests.support.eventually import eventually

from .shop.models import Order
from .shop.tasks import double, ship


class Failure(Exception):
    pass


@contextmanager
def rolled_back() -> Iterator[None]:
    """A block of atomic(), rolled back at its end."""
    with suppress(Failure), transaction.atomic():
        yield
        raise Failure


def waiting(broker: PostgresBroker) -> int:
    """How many messages others see."""
    return broker.get_queue_message_counts("default")[0]


class TestAtomic:
    def test_a_message_is_invisible_before_the_commit_and_runs_after_it(
        self, django_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        worker_for(django_broker, worker_threads=2)
        with transaction.atomic():
            Order(number=1).place()
            double.send(2)
            assert waiting(django_broker) == 0
        django_broker.join("default", timeout=20_000)

        def shipped() -> None:
            assert Order.objects.get(number=1).shipped

        eventually(shipped)

    def test_what_a_process_sends_that_was_forked_inside_is_sent_at_once(
        self, django_broker: PostgresBroker
    ) -> None:
        with rolled_back():
            double.send(1)
            process = multiprocessing.get_context("fork").Process(target=double.send, args=(2,))
            process.start()
            process.join(20)
            assert process.exitcode == 0
            double.send(3)
        assert waiting(django_broker) == 1

    def test_a_message_of_a_rollback_never_runs(self, django_broker: PostgresBroker) -> None:
        with rolled_back():
            Order(number=1).place()
        assert not Order.objects.exists()
        assert waiting(django_broker) == 0

    def test_savepoints_are_as_sql_has_them(self, django_broker: PostgresBroker) -> None:
        with transaction.atomic():
            double.send(1)
            with rolled_back():
                double.send(2)
            double.send(3)
        assert waiting(django_broker) == 2

    def test_outside_of_it_a_message_is_sent_at_once(self, django_broker: PostgresBroker) -> None:
        double.send(1)
        assert waiting(django_broker) == 1

    def test_a_block_can_be_left_out(self, django_broker: PostgresBroker) -> None:
        with rolled_back(), outside_transaction():
            double.send(1)
        assert waiting(django_broker) == 1

    def test_without_autocommit_it_is_the_same(self, django_broker: PostgresBroker) -> None:
        transaction.set_autocommit(False)
        try:
            double.send(1)
            assert waiting(django_broker) == 0
            transaction.commit()
            double.send(2)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert waiting(django_broker) == 1

    def test_groups_and_many_messages_join_too(self, django_broker: PostgresBroker) -> None:
        with rolled_back():
            pgqueue.group([double.message(n) for n in range(3)]).run()
            double.send_many([(1,), (2,)])
        assert waiting(django_broker) == 0

    def test_a_failed_transaction_takes_no_message(self, django_broker: PostgresBroker) -> None:
        with transaction.atomic():
            with pytest.raises(Failure), transaction.atomic(savepoint=False):
                raise Failure
            with pytest.raises(TransactionError):
                ship.send(1)
            transaction.set_rollback(False)
            double.send(1)
        assert waiting(django_broker) == 1


class TestSettings:
    @pytest.mark.usefixtures("django_broker")
    @pytest.mark.parametrize(
        "given", [{"JOIN_ATOMIC": False}, {"URL": "postgresql://somewhere/app"}, {"DATABASE": "other"}]
    )
    def test_only_the_queues_own_database_is_joined_and_only_if_wanted(
        self, given: dict[str, object]
    ) -> None:
        with override_settings(PGQUEUE=given):
            broker = make_broker()
        with transaction.atomic():
            assert open_transaction(broker) is None

    @pytest.mark.usefixtures("django_broker")
    def test_the_alias_of_the_setting_is_joined(self) -> None:
        with override_settings(PGQUEUE={"DATABASE": "other"}):
            broker = make_broker()
        with transaction.atomic(using="other"):
            joined = open_transaction(broker)
        assert getattr(joined, "alias", None) == "other"

    @pytest.mark.usefixtures("django_broker")
    def test_other_brokers_join_nothing(self, database_url: str) -> None:
        with transaction.atomic():
            assert open_transaction(PostgresBroker(database_url)) is None

    def test_it_is_a_brokers_alias_that_counts(self, django_broker: PostgresBroker) -> None:
        assert isinstance(django_broker, DjangoBroker)
        assert django_broker.alias == connection.alias == "default"
