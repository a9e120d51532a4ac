"""The helpers for test cases, in test cases that Django runs."""

import unittest
from typing import Any

import pytest
from django.db import connection
from django.test import TestCase

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.integrations.django.test import PgQueueTestCase, PgQueueTransactionTestCase

from .shop.models import Order
from .shop.tasks import double, heard, pay, ship, thank


def run(case: type[TestCase], name: str) -> unittest.TestResult:
    """Run one test of a case."""
    result = unittest.TestResult()
    unittest.TestSuite([case(name)]).run(result)
    return result


class Inside(PgQueueTestCase):
    databases = {"default"}  # noqa: RUF012  # as Django has it

    def test_runs(self) -> None:
        Order(number=7).place()
        assert [message.args for message in self.sent_messages()] == [(7,)]
        self.assertSent(ship, 7)
        self.assertSent("ship")
        self.assertNotSent(double)
        assert self.run_messages() == 1
        assert Order.objects.get().shipped
        self.assertNotSent()

    def test_follow_ups(self) -> None:
        thank.send(4)
        assert self.run_messages() == 2

    def test_later(self) -> None:
        message = double.send_with_options(args=(21,), delay=3_600_000)
        assert self.run_messages() == 0
        self.assertSent(double, 21)
        assert self.run_messages(delayed=True) == 1
        assert message.get_result() == 42

    def test_urgent_ones_first(self) -> None:
        ship.send_with_options(args=(1,), priority=5)
        double.send(1)
        assert [message.actor_name for message in self.sent_messages()] == ["double", "ship"]

    def test_fails(self) -> None:
        ship.send(99)
        with self.assertRaisesMessage(LookupError, "There is no order 99."):
            self.run_messages()
        self.assertSent(ship, 99)  # the retry

    def test_transactional(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            pay.send(3)
        assert self.run_messages() == 2
        assert callbacks == []
        assert heard.pop() == 3
        assert list(Order.objects.values_list("number", "shipped")) == [(3, True)]
        self.assertNotSent()
        with connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("0",)

    def test_transactional_fails(self) -> None:
        Order(number=1).save()
        pay.send(-1)
        with self.assertRaisesMessage(RuntimeError, "-1"):
            self.run_messages()
        assert list(Order.objects.values_list("number", flat=True)) == [1]
        assert heard == []
        assert [message.actor_name for message in self.sent_messages()] == ["pay"]  # the retry

    def test_complains(self) -> None:
        double.send(1)
        with self.assertRaisesMessage(AssertionError, "double(2) was not sent; there are double(1)."):
            self.assertSent(double, 2)
        with self.assertRaisesMessage(AssertionError, "ship() was not sent; there are no messages for it."):
            self.assertSent(ship)
        with self.assertRaisesMessage(AssertionError, "Nothing was to be sent, but there are double(1)."):
            self.assertNotSent()


class Outside(PgQueueTransactionTestCase):
    databases = {"default"}  # noqa: RUF012  # as Django has it

    def _fixture_teardown(self) -> None:
        """Leave out the flush of the shop's tables: the database goes with the test."""

    def test_runs(self) -> None:
        self.assertNotSent()
        Order(number=7).place()
        assert self.run_messages() == 1
        assert Order.objects.get().shipped
        double.send(1)

    def test_transactional(self) -> None:
        pay.send(3)
        assert self.run_messages() == 2
        assert heard.pop() == 3
        assert Order.objects.get().shipped

    def test_transactional_fails(self) -> None:
        pay.send(-1)
        with self.assertRaisesMessage(RuntimeError, "-1"):
            self.run_messages()
        assert not Order.objects.exists()
        self.assertSent(pay, -1)  # the retry


NAMES = [(case, name) for case in (Inside, Outside) for name in vars(case) if name.startswith("test_")]


@pytest.mark.parametrize(("case", "name"), NAMES, ids=[f"{case.__name__}-{name}" for case, name in NAMES])
def test_the_test_case_succeeds_and_leaves_no_message(
    case: Any, name: str, django_broker: PostgresBroker
) -> None:
    double.send(1000)
    if issubclass(case, TestCase):
        django_broker.flush_all()
    result = run(case, name)
    assert not [text for _case, text in [*result.errors, *result.failures]]
    assert result.testsRun == 1
    assert django_broker.get_queue_message_counts("default") == (0, 0, 0)


del Inside, Outside
