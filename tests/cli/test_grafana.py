"""The board and the rules: read by parsers of their own, and held against the metrics that there really are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client import values

import pgqueue
from pgqueue import cli
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import grafana
from pgqueue.middleware import prometheus
from pgqueue.middleware.prometheus import Prometheus
from pgqueue.middleware.prometheus.queues import QueueCollector
from tests.conftest import WorkerFor
from tests.support.metrics import scrape

BOARD: dict[str, Any] = json.loads(grafana.read(grafana.BOARD))
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(grafana.read(grafana.RULES))["groups"] for rule in group["rules"]
]

#: What Grafana fills in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$queue": ".*", "$actor": ".*"}


def expressions() -> list[str]:
    """Every expression that Prometheus is asked."""
    asked = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        asked = [text.replace(name, value) for text in asked]
    return [*asked, *(rule["expr"] for rule in RULES)]


def used(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric that an expression names, with the labels that it needs there."""
    found: list[tuple[str, set[str]]] = []

    def look(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            assert node.name is not None, expression
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers}))

    grouped: list[tuple[promql.Expr, set[str]]] = []

    def group(node: promql.Expr) -> None:
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            grouped.append((node.expr, set(node.modifier.labels)))

    tree = promql.parse(expression)
    promql.walk(tree, look)
    promql.walk(tree, group)
    yield from found
    for inner, labels in grouped:
        found.clear()
        promql.walk(inner, look)
        yield from ((name, labels) for name, _ in found)


@pytest.fixture
def real(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, set[str]]:
    """The labels of each metric that is served after a message has been processed."""
    directory = tmp_path / "prom"
    monkeypatch.setenv("pgqueue_prom_db", str(directory))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    middleware = Prometheus()
    postgres_broker.add_middleware(middleware)
    middleware.after_process_boot(postgres_broker)

    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    worker_for(postgres_broker)
    postgres_broker.join("default", timeout=15_000)
    collector = QueueCollector(postgres_broker.database)
    with prometheus._serving(directory, "127.0.0.1", 0, collector) as port:
        series = scrape(port)
    collector.close()
    labels: dict[str, set[str]] = {}
    for line in series:
        name, _, rest = line.partition("{")
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', rest))
    return labels


def test_every_metric_exists_with_the_labels_used(real: dict[str, set[str]]) -> None:
    for expression in expressions():
        for name, labels in used(expression):
            assert name in real, expression
            assert labels <= real[name], expression


def test_every_metric_is_on_the_board(real: dict[str, set[str]]) -> None:
    shown = {name for expression in expressions() for name, _ in used(expression)}
    # Nothing waits in the memory of our workers, and a histogram is asked by its buckets.
    left_out = {"pgqueue_delayed_messages_inprogress"}
    named = {name for name in real if not re.search(r"_(sum|count|created)$", name)}
    assert named - left_out == shown


def test_legends_and_variables_name_labels_that_exist(real: dict[str, set[str]]) -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            wanted = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
            assert all(f"({label})" in target["expr"] or f", {label})" in target["expr"] for label in wanted)
    queries = [v["definition"] for v in BOARD["templating"]["list"] if v["type"] == "query"]
    for query in queries:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        assert label in real[metric]


def test_panels_have_places_of_their_own_and_a_data_source_to_choose() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["description"].endswith(".")
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    assert BOARD["templating"]["list"][0]["name"] == "datasource"


def test_rules_have_what_prometheus_and_people_need(real: dict[str, set[str]]) -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}
        if "for" in rule:
            assert promql.parse_duration(rule["for"]).total_seconds() > 0
        # A label that is told has to be left by the expression.
        told = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
        assert all(told <= set(labels.split(", ")) for labels in grouped)
        assert bool(told) <= bool(grouped)


def test_commands_that_annotations_name_exist() -> None:
    words = re.findall(r"`pgqueue (\w+)", grafana.read(grafana.RULES))
    assert words
    assert set(words) <= set(cli.COMMANDS)


@pytest.mark.parametrize(("words", "name"), [((), grafana.BOARD), (("--alerts",), grafana.RULES)])
def test_the_command_prints_the_file(
    words: tuple[str, ...], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["grafana", *words]) == 0
    assert capsys.readouterr().out == grafana.read(name)
