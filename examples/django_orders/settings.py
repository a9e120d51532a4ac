"""The project: one database, which holds the queue as well."""

import os

SECRET_KEY = "an example's"  # noqa: S105
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["SHOP_DATABASE"]}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["pgqueue.integrations.django", "orders"]
PGQUEUE = {"RESULTS": {"store_results": True}}
