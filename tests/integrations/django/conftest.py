"""Django, set up once in this process; each test has a database of its own behind the alias ``default``."""

from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.apps import apps
from django.db import connections

from pgqueue import _registry
from pgqueue.broker import get_broker
from pgqueue.integrations.django.transactions import DjangoBroker
from pgqueue.worker import Worker
from tests.conftest import stop_all
from tests.support.processes import Process
from tests.support.project import Project

from .aliases import database

SETTINGS = "tests.integrations.django.settings"


def _set_up() -> DjangoBroker:
    """Set Django up, and keep what that makes of this process from the tests of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_URL", "postgresql://nowhere/none")
        patch.setenv("DJANGO_SETTINGS_MODULE", SETTINGS)
        patch.setattr(_registry, "_make_default", None)
        patch.setitem(_registry._home, "global_broker", None)
        django.setup()
        broker = get_broker()
    assert isinstance(broker, DjangoBroker)
    return broker


#: The project's broker. Before any test is collected, because modules of models can't be imported otherwise.
BROKER = _set_up()


def point(alias: str, url: str) -> None:
    """Have Django find another database behind an alias."""
    connections[alias].close()
    connections[alias].settings_dict.update(database(url))


@pytest.fixture
def django_broker(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    running_workers: list[Worker],
) -> Iterator[DjangoBroker]:
    """The broker of the project, which is the process's, on a database with our tables and the shop's."""
    monkeypatch.setitem(_registry._home, "global_broker", BROKER)
    for alias in connections:
        point(alias, database_url)
    with connections["default"].schema_editor() as editor:
        for model in apps.get_app_config("shop").get_models():
            editor.create_model(model)
    yield BROKER
    stop_all(running_workers)
    BROKER.close()
    connections.close_all()


class Program:
    """A project in a directory of its own, with a ``manage.py``."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project
        self.env: dict[str, str | None] = {"SHOP_URL": url, "DJANGO_SETTINGS_MODULE": SETTINGS}
        project.write(
            "manage.py",
            "import sys\nfrom django.core.management import execute_from_command_line as run\nrun(sys.argv)\n",
        )

    def start(self, *words: str) -> Process:
        """Start ``manage.py words…``."""
        return self.project.start_python("manage.py", *words, env=self.env)

    def run(self, *words: str) -> str:
        """Run ``manage.py words…``; return what it prints."""
        code, output = self.end(*words)
        assert code == 0, output
        return output

    def end(self, *words: str) -> tuple[int, str]:
        """Run ``manage.py words…``; return exit code and output."""
        process = self.start(*words)
        return process.wait(), process.output


@pytest.fixture
def program(tmp_path: Path, programs: list[Process], empty_database_url: str) -> Program:
    """A project on an empty database."""
    return Program(Project(tmp_path, programs), empty_database_url)
