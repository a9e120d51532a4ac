"""Messages of a transaction wake idle workers when it commits."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0002_control")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0005", previous="pgqueue_0004")]  # noqa: RUF012
