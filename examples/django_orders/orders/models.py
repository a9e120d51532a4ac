"""What is kept."""

from django.db import models, transaction

from . import tasks


class Order(models.Model):
    """An order, and whether it was shipped."""

    customer = models.TextField()
    shipped = models.BooleanField(default=False)

    @classmethod
    @transaction.atomic
    def place(cls, customer: str) -> None:
        """Insert a row and send a message: both are there with the commit, or neither."""
        order = cls.objects.create(customer=customer)
        tasks.ship.send(order.pk)
