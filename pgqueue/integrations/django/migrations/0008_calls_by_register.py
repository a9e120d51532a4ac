"""A call for workers says of which register it is."""

from django.db import migrations

from pgqueue.integrations.django.operations import UpgradeSchema


class Migration(migrations.Migration):
    """Runs our revisions up to the one that it names."""

    dependencies = [("pgqueue", "0007_full_notifications")]  # noqa: RUF012  # as Django has it
    operations = [UpgradeSchema("pgqueue_0010", previous="pgqueue_0009")]  # noqa: RUF012
