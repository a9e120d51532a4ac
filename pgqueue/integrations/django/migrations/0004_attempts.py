"""Failed attempts of messages are kept."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0003_wake_at_commit")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0006", previous="pgqueue_0005")]  # noqa: RUF012
