"""Single worker processes obey orders to go quiet and to stop."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0004_attempts")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0007", previous="pgqueue_0006")]  # noqa: RUF012
