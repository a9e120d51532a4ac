"""No commit fails because the server's queue of notifications is full."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0006_queue_limits")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0009", previous="pgqueue_0008")]  # noqa: RUF012
