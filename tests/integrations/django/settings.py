"""Settings of a Django project, for tests in this process and for programs; SHOP_URL says where its database is."""

import json
import os

import django

from .aliases import BACKEND, database

SECRET_KEY = "not so secret"
USE_TZ = True
INSTALLED_APPS = ["tests.integrations.django.shop", "pgqueue.integrations.django"]
DATABASES = {
    "default": database(os.environ["SHOP_URL"]),
    "other": database(os.environ.get("SHOP_OTHER_URL") or os.environ["SHOP_URL"]),
}
DATABASE_ROUTERS = json.loads(os.environ.get("SHOP_ROUTERS", "[]"))
PGQUEUE = json.loads(os.environ.get("SHOP_PGQUEUE", "{}"))

TASKS = {
    "default": {"BACKEND": BACKEND, "QUEUES": ["default", "slow"]},
    "persistent": {"BACKEND": BACKEND, "QUEUES": [], "OPTIONS": {"MAX_RETRIES": 2, "RESULT_TTL": 60}},
    "after_commit": {"BACKEND": BACKEND, "OPTIONS": {"ENQUEUE_ON_COMMIT": True}},
}
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")
