"""The tables."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    initial = True
    operations = [UpgradeSchema("pgqueue_0003")]  # noqa: RUF012  # as Django has it
