"""Queues with a limit of how many of their messages run at once."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0005_worker_orders")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0008", previous="pgqueue_0007")]  # noqa: RUF012
