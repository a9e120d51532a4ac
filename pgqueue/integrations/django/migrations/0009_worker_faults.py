"""What goes wrong inside of a worker's process, told where others can see it."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0008_calls_by_register")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0011", previous="pgqueue_0010")]  # noqa: RUF012
