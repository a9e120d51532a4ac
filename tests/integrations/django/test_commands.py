"""``manage.py pgqueue_worker``."""

import pytest
from django.core.management import CommandError, call_command

from tests.support.eventually import eventually
from tests.support.project import stop, wait_for_workers

from .conftest import Program

pytestmark = pytest.mark.slow

SEND = """
from tests.integrations.django.shop.models import Order
order = Order(number=42)
order.place()
"""

LOOK = "from tests.integrations.django.shop.models import Order; print(Order.objects.filter(shipped=True).count())"


class TestWorker:
    def test_it_runs_what_was_sent_with_django_set_up(self, program: Program) -> None:
        program.run("migrate", "--run-syncdb", "--verbosity", "0")
        program.run("shell", "--verbosity", "0", "--command", SEND)
        worker = program.start("pgqueue_worker", "-p", "1", "--threads", "2", "-Q", "default")
        wait_for_workers(worker, 1)

        def look() -> None:
            assert program.run("shell", "--verbosity", "0", "--command", LOOK).strip() == "1", worker.output

        eventually(look, within_s=30)
        assert stop(worker) == 0

    def test_djangos_own_options_are_djangos(self, program: Program) -> None:
        settings = program.env.pop("DJANGO_SETTINGS_MODULE")
        code, output = program.end("pgqueue_worker", f"--settings={settings}", "--pythonpath", ".", "-p", "1")
        assert code == 2
        assert "Run `pgqueue migrate`" in output

    def test_a_wrong_option_is_explained_by_pgqueue(self, program: Program) -> None:
        code, output = program.end("pgqueue_worker", "--colour")
        assert code == 2
        assert "unrecognized arguments: --colour" in output

    def test_its_help_is_that_of_the_command_line(self, program: Program) -> None:
        assert "--worker-shutdown-timeout" in program.run("help", "pgqueue_worker")

    def test_it_does_not_take_the_place_of_a_program_that_calls_it(self) -> None:
        with pytest.raises(CommandError, match=r"run it as `manage.py pgqueue_worker`"):
            call_command("pgqueue_worker")
