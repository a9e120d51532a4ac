"""A Django app with one model."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "tests.integrations.django.shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
