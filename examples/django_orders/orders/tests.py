"""Messages are seen and run within the test's transaction; no worker is needed."""

from pgqueue.integrations.django.test import PgQueueTestCase

from .models import Order
from .tasks import ship


class OrderTest(PgQueueTestCase):
    """Orders."""

    def test_an_order_is_shipped(self) -> None:
        """Place one, and run what was sent."""
        Order.place("Ada")
        self.assertSent(ship)
        self.run_messages()
        self.assertTrue(Order.objects.get().shipped)
