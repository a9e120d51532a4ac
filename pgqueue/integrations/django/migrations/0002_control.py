"""What operators order, and what workers say of themselves."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0001_initial")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0004", previous="pgqueue_0003")]  # noqa: RUF012
