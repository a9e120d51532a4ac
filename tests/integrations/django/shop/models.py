"""What the shop keeps. Imports an actor, as models do that send messages when they are saved."""

from django.db import models

from .tasks import ship


class Order(models.Model):
    number = models.IntegerField()
    shipped = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"

    def place(self) -> None:
        self.save()
        ship.send(self.number)
