"""docker-compose.yml and the Dockerfile, as far as they can be held against the checkout without an engine."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgqueue import cli
from pgqueue.cli import dashboard, grafana
from pgqueue.middleware import prometheus
from tests.support.eventually import eventually
from tests.support.metrics import free_port, scrape
from tests.support.processes import ROOT, Process

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


COMPOSE = read("docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if "build" in service]


def filled_in(text: str) -> str:
    """A text with the defaults in the place of its variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def port(service: str) -> int:
    """The port that a service publishes, inside of its container."""
    (published,) = SERVICES[service]["ports"]
    host, outside, inside = filled_in(published).split(":")
    assert host == "127.0.0.1"
    assert outside.isdecimal()
    return int(inside)


def mounts(service: str) -> dict[str, str]:
    """What is mounted into a service: where from, by where to."""
    pairs = [filled_in(volume).removesuffix(":ro").rsplit(":", 1) for volume in SERVICES[service]["volumes"]]
    return {inside: outside for outside, inside in pairs}


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_understood(name: str) -> None:
    words = [filled_in(word) for word in SERVICES[name]["command"]]
    if words[0] in cli.COMMANDS:
        cli._command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        cli.make_argument_parser().parse_intermixed_args(words)


def test_every_part_is_there_and_waits_for_parts_that_are() -> None:
    assert OURS == ["migrate", "worker", "dashboard"]
    assert set(SERVICES) - set(OURS) == {"postgres", "prometheus", "grafana"}
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
    assert SERVICES["worker"]["depends_on"] == SERVICES["dashboard"]["depends_on"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_mounted_files_exist_and_named_volumes_are_declared(name: str) -> None:
    for outside in mounts(name).values() if "volumes" in SERVICES[name] else ():
        if outside.startswith("."):
            assert (ROOT / outside).exists(), outside
        else:
            assert outside in COMPOSE["volumes"]


@pytest.mark.parametrize("name", OURS)
def test_the_url_names_the_server_with_its_user_and_database(name: str) -> None:
    server = SERVICES["postgres"]["environment"]
    user, password, database = (filled_in(server[f"POSTGRES_{key}"]) for key in ("USER", "PASSWORD", "DB"))
    environment = SERVICES[name]["environment"]
    assert environment["PGQUEUE_URL"] == f"postgresql://{user}@postgres/{database}"
    assert filled_in(environment["PGPASSWORD"]) == password


def test_the_server_is_healthy_once_it_answers_over_the_network() -> None:
    """Not before: the one that makes the database listens on its socket only, and ends."""
    kind, program, *words = SERVICES["postgres"]["healthcheck"]["test"]
    server = SERVICES["postgres"]["environment"]
    asked = dict(zip(words[::2], words[1::2], strict=True))
    assert (kind, program) == ("CMD", "pg_isready")
    assert asked == {
        "--host": "127.0.0.1", "--username": server["POSTGRES_USER"], "--dbname": server["POSTGRES_DB"],
    }  # fmt: skip
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.slow
def test_the_actor_that_is_run_without_one_of_your_own_is_counted(
    database_url: str, programs: list[Process], tmp_path: Path
) -> None:
    directory = ROOT / mounts("worker")["/app"]
    port = free_port()
    environment: dict[str, str | None] = {
        "PGQUEUE_URL": database_url,
        "PYTHONPATH": f"{ROOT}:{directory}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "pgqueue_prom_db": str(tmp_path),
        "pgqueue_prom_host": "127.0.0.1",
        "pgqueue_prom_port": str(port),
    }
    words = [filled_in(word) for word in SERVICES["worker"]["command"]]
    workers = Process(["-m", "pgqueue", *words, "-p", "1"], env=environment, cwd=directory)
    programs.append(workers)
    (line,) = re.findall(r"^#.* python -c '(.*)'$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    assert line in (ROOT / "docs" / "operations.md").read_text()
    sender = Process(["-c", line], env=environment, cwd=directory)
    programs.append(sender)
    assert sender.wait() == 0, sender.output
    workers.wait_for("Hello, Ada!", within_s=30.0)

    def counted() -> None:
        try:
            found = scrape(port)
        except OSError as error:
            raise AssertionError from error
        assert found.get('pgqueue_messages_total{actor_name="greet",queue_name="default"}') == 1
        assert found.get('pgqueue_queue_ready{queue_name="default"}') == 0

    eventually(counted, within_s=30.0)


def test_the_dashboard_is_open_to_the_network_with_a_password() -> None:
    words = SERVICES["dashboard"]["command"]
    arguments = cli._command_parser("dashboard").parse_intermixed_args(words[1:])
    assert not dashboard.is_loopback(arguments.host)
    assert arguments.port == port("dashboard") == dashboard.PORT
    assert filled_in(SERVICES["dashboard"]["environment"]["PGQUEUE_DASHBOARD_PASSWORD"])


def test_prometheus_asks_the_workers_and_reads_the_rules() -> None:
    settings = read("deploy/prometheus.yml")
    (job,) = settings["scrape_configs"]
    (found_by,) = job["dns_sd_configs"]
    assert found_by["names"] == ["worker"]
    assert found_by["port"] == prometheus.DEFAULT_PORT
    (rules,) = settings["rule_files"]
    assert (ROOT / mounts("prometheus")[rules]).read_text() == grafana.read(grafana.RULES)


def test_grafana_asks_prometheus_and_shows_the_board() -> None:
    (source,) = read("deploy/grafana/datasource.yml")["datasources"]
    assert source["url"] == f"http://prometheus:{port('prometheus')}"
    assert source["type"] == "prometheus"
    (provider,) = read("deploy/grafana/boards.yml")["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home.startswith(provider["options"]["path"])
    assert (ROOT / mounts("grafana")[home]).read_text() == grafana.read(grafana.BOARD)


def test_the_image_starts_our_command_without_root_and_with_the_dashboard() -> None:
    assert 'ENTRYPOINT ["pgqueue"]' in DOCKERFILE
    assert DOCKERFILE.index("USER pgqueue") < DOCKERFILE.index("ENTRYPOINT")
    assert {"8417", "9191"} == set(re.findall(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[0].split())
    (extras,) = re.findall(r"pgqueue-engine\[([\w,]+)\]", DOCKERFILE)
    declared = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    assert "dashboard" in extras.split(",")
    assert set(extras.split(",")) <= declared


def test_what_the_image_is_built_from_is_not_left_out_of_its_context() -> None:
    """Everything that a wheel is made of is sent to the engine; what a checkout gathers beside it is not."""
    left_out = [line for line in (ROOT / ".dockerignore").read_text().split() if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [
        *("pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]),
        *(*wheel["only-include"], *wheel["force-include"]),
    ]
    for name in needed:
        assert (ROOT / name).exists(), name
        assert not any(fnmatch(name, pattern) for pattern in left_out), name
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    kept = {
        name
        for name in ignored
        if not any(fnmatch(name, pattern.removeprefix("**/")) for pattern in left_out)
    }
    assert kept == set()
