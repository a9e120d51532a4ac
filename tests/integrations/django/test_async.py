"""What coroutines send: it joins the transaction that their calls of the ORM are in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import TargetMismatch
from pgqueue.integrations.django.test import PgQueueTestCase
from pgqueue.transactions import outside_transaction

from .shop.models import Order
from .shop.tasks import add, double, ship
from .test_test import run
from .test_transactions import rolled_back, waiting


async def place(number: int) -> None:
    """Write a row and a message, as an async view does."""
    await Order.objects.acreate(number=number)
    await ship.send_async(number)


async def view(request: HttpRequest) -> HttpResponse:
    await place(int(request.GET["number"]))
    return HttpResponse()


urlpatterns = [path("place", view)]


class TestAsyncToSync:
    """Coroutines inside of ``atomic()``, whose calls of the ORM go back to the thread that is in it."""

    @pytest.mark.parametrize("commits", [True, False])
    def test_rows_and_messages_share_their_fate(self, django_broker: PostgresBroker, commits: bool) -> None:
        with transaction.atomic():
            async_to_sync(place)(1)
            assert waiting(django_broker) == 0
            transaction.set_rollback(not commits)
        assert (Order.objects.count(), waiting(django_broker)) == (int(commits), int(commits))

    def test_many_at_once_and_groups_and_tasks_join_too(self, django_broker: PostgresBroker) -> None:
        async def send() -> None:
            await asyncio.gather(*(double.send_async(number) for number in range(5)))
            await double.send_many_async([(1,), (2,)])
            await pgqueue.group([double.message(n) for n in range(3)]).run_async()
            await add.aenqueue(1, 2)

        with rolled_back():
            async_to_sync(send)()
        assert waiting(django_broker) == 0
        with transaction.atomic():
            async_to_sync(send)()
        assert waiting(django_broker) == 11

    def test_a_savepoint_takes_back_what_was_sent_in_it(self, django_broker: PostgresBroker) -> None:
        with transaction.atomic():
            async_to_sync(place)(1)
            with rolled_back():
                async_to_sync(place)(2)
        assert waiting(django_broker) == 1

    def test_a_failed_transaction_takes_no_message(self, django_broker: PostgresBroker) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(pgqueue.errors.TargetFailed):
                async_to_sync(double.send_async)(1)
        assert waiting(django_broker) == 0

    def test_a_block_may_leave_it_out_and_one_for_the_alias_says_what_to_do(
        self, django_broker: PostgresBroker
    ) -> None:
        with rolled_back(), outside_transaction():
            async_to_sync(double.send_async)(1)
        with rolled_back(), pgqueue.transaction("default"), pytest.raises(TargetMismatch, match="not async"):
            async_to_sync(double.send_async)(2)
        assert waiting(django_broker) == 1


class TestSyncToAsync:
    """Functions with transactions of their own, called by coroutines."""

    @pytest.mark.parametrize("thread_sensitive", [True, False])
    def test_each_joins_its_own(self, django_broker: PostgresBroker, thread_sensitive: bool) -> None:
        def work(number: int) -> None:
            try:
                with transaction.atomic():
                    Order(number=number).place()
                    transaction.set_rollback(number % 2 == 1)
            finally:
                connection.close()

        async def main() -> None:
            call = sync_to_async(work, thread_sensitive=thread_sensitive)
            await asyncio.gather(*(call(number) for number in range(6)))

        asyncio.run(main())
        assert (Order.objects.count(), waiting(django_broker)) == (3, 3)

    def test_a_coroutine_without_a_transaction_sends_at_once(self, django_broker: PostgresBroker) -> None:
        async def main() -> None:
            await place(1)
            assert waiting(django_broker) == 1
            await sync_to_async(connections.close_all)()
            await django_broker.close_async()

        asyncio.run(main())


class Inside(PgQueueTestCase):
    """Async tests and views inside of a test's transaction."""

    async def test_a_coroutine(self) -> None:
        await place(1)
        await sync_to_async(self.assertSent)(ship, 1)
        assert await sync_to_async(self.run_messages)() == 1
        assert (await Order.objects.aget(number=1)).shipped

    @override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
    async def test_a_view(self) -> None:
        response = await self.async_client.get("/place", {"number": "2"})
        assert response.status_code == 200
        await sync_to_async(self.assertSent)(ship, 2)


@pytest.mark.parametrize(("case", "name"), [(Inside, "test_a_coroutine"), (Inside, "test_a_view")])
def test_in_a_test_case_it_joins_the_tests_transaction(
    case: Any, name: str, django_broker: PostgresBroker
) -> None:
    result = run(case, name)
    assert not [text for _case, text in [*result.errors, *result.failures]]
    assert (Order.objects.count(), waiting(django_broker)) == (0, 0)


del Inside
