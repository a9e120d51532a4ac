"""The programs of ``examples/`` as their README runs them: workers in one process, the program in another."""

import re

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.eventually import eventually
from tests.support.processes import ROOT, Process

EXAMPLES = ROOT / "examples"

#: What each program prints; what its worker prints.
EXPECTED = {
    "quickstart": (["Sent greet('Ada')"], ["Hello, Ada!"]),
    "retries": (
        ["order('corner shop'): ordered at attempt 3", "raised OutOfOrder", "dead letters: failed"],
        ["Gave up ['closed'] after 3 retries."],
    ),
    "group": (["Callback: all numbers below 100", "25 of them are prime: [2, 3, 5"], []),
    "pipeline": (["Commonest: ['the', 'dog']", "All steps: [['the', 'quick'"], []),
    "sqlalchemy_orders": (
        ["Before the commit: unknown.", "order 1 is on its way to Ada", "back: unknown."],
        [],
    ),
    "flask_orders": (["order 1 is on its way to Ada", "'status': 'ok'"], []),
    "fastapi_orders": (["Placed order 1", "'status': 'ok'"], ["order 1 is on its way"]),
    "scheduled": (["remind is scheduled", "don't forget: the tea, after 2.", "Not run: "], []),
}


def test_every_example_is_known_to_the_readme_and_to_this_test() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert {path.stem for path in EXAMPLES.glob("*.py")} == EXPECTED.keys()
    assert set(re.findall(r"\((\w+)\.py\)", readme)) == EXPECTED.keys()
    assert "(django_orders)" in readme


def test_every_example_is_shorter_than_sixty_lines() -> None:
    assert {path.name for path in EXAMPLES.rglob("*.py") if len(path.read_text().splitlines()) >= 60} == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_the_example_does_what_it_says(name: str, database_url: str, programs: list[Process]) -> None:
    environment = {"PGQUEUE_URL": database_url, "DATABASE_URL": None}
    worker = Process(["-m", "pgqueue", name, "-p", "1", "-t", "2"], env=environment, cwd=EXAMPLES, warm=True)
    programs.append(worker)
    program = Process(
        [f"{name}.py", *(["Ada"] if name == "quickstart" else [])], env=environment, cwd=EXAMPLES, warm=True
    )
    programs.append(program)
    from_program, from_worker = EXPECTED[name]
    assert program.wait(timeout_s=50) == 0, program.output + worker.output
    for text in from_program:
        assert text in program.output, worker.output

    def heard() -> None:
        for text in from_worker:
            assert text in worker.output

    eventually(heard, within_s=20)


@pytest.mark.slow
def test_the_django_project_does_what_it_says(empty_database_url: str, programs: list[Process]) -> None:
    found = conninfo_to_dict(empty_database_url)
    environment: dict[str, str | None] = {
        "SHOP_DATABASE": str(found["dbname"]),
        "DJANGO_SETTINGS_MODULE": None,
    }
    for variable, name in (
        ("PGHOST", "host"),
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGPASSWORD", "password"),
    ):
        if found.get(name):
            environment[variable] = str(found[name])

    def manage(*words: str) -> Process:
        programs.append(
            Process(["manage.py", *words], env=environment, cwd=EXAMPLES / "django_orders", warm=True)
        )
        return programs[-1]

    def ended(*words: str) -> str:
        program = manage(*words)
        assert program.wait(timeout_s=50) == 0, program.output
        return program.output

    assert "Ran 1 test" in ended("test")
    ended("migrate", "--run-syncdb")
    worker = manage("pgqueue_worker", "-p", "1", "-t", "1")
    ended("shell", "-c", "from orders.models import Order; Order.place('Ada')")

    def shipped() -> None:
        with psycopg.connect(empty_database_url) as connection:
            rows = connection.execute("SELECT customer FROM orders_order WHERE shipped").fetchall()
        assert rows == [("Ada",)], worker.output

    eventually(shipped, within_s=30)
