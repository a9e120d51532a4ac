"""The table of faults in the operators' page names all faults, and only what there is."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from pgqueue.cli import grafana
from pgqueue.faults import Fault
from pgqueue.middleware.prometheus import Metrics
from pgqueue.middleware.prometheus.queues import QueueCollector
from pgqueue.operations import checking
from pgqueue.storage.database import Database
from tests.faults import test_faults_of_the_keeper, test_faults_of_workers, test_the_doctor
from tests.faults.table import Row, rows
from tests.support.processes import ROOT

#: Every text of the package, with what is split over lines put together.
SOURCE = "\n".join(path.read_text() for path in (ROOT / "pgqueue").rglob("*.py"))
JOINED = re.sub(r'"\s*\n\s*f?"', "", SOURCE)

NAMED = {row.name.strip("`"): row for row in rows() if row.name.startswith("`")}


def test_every_fault_has_its_row_and_nothing_else_a_name() -> None:
    assert set(NAMED) == {str(fault) for fault in Fault}
    assert len(rows()) == len({row.name for row in rows()})


def test_every_fault_is_caused_by_a_test() -> None:
    caused = {*test_faults_of_workers.CAUSES, *test_faults_of_the_keeper.CAUSES, Fault.PROCESS_DIED}
    assert caused == set(Fault)


def test_every_fault_is_logged_under_its_name() -> None:
    assert [fault.name for fault in Fault if f"fault=Fault.{fault.name}" not in SOURCE] == []


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_line_of_the_log_exists(row: Row) -> None:
    assert row.line in JOINED


def test_lines_of_no_named_fault_are_caused_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    told = [row for row in rows() if not row.name.startswith("`")]
    assert [row.name for row in told if f'"{row.name}"' not in tests and row.line not in tests] == []


def test_metrics_exist(database_url: str) -> None:
    database = Database(database_url)
    with closing(QueueCollector(database)) as of_the_database:
        metrics = [*Metrics().registry.collect(), *of_the_database.collect()]
    database.close()
    served = {name for metric in metrics for name in (metric.name, f"{metric.name}_total")}
    named = {metric for row in rows() for metric in row.metrics}
    assert named <= served


def test_checks_exist_and_all_that_can_fail_are_named(database_url: str) -> None:
    database = Database(database_url)
    checks = {check.name for check in checking.check(database)}
    database.close()
    # The first queue's check comes with the first worker; rights and settings are no faults.
    checks |= {"queues"}
    named = {check for row in rows() for check in row.checks}
    assert named <= checks
    assert checks - named - {"rights"} == {"version", "durability"}


def test_every_row_with_a_check_is_turned_by_a_test_and_others_say_why_not() -> None:
    named = {row.name: row.checks for row in rows() if row.checks}
    assert set(named) == set(test_the_doctor.TURNED) | set(test_the_doctor.ELSEWHERE)
    assert [name for name, check in test_the_doctor.TURNED.items() if check not in named[name]] == []
    assert [row.name for row in rows() if not row.checks and not row.doctor.startswith("none: ")] == []


@pytest.mark.parametrize(("file", "name"), sorted(set(test_the_doctor.ELSEWHERE.values())))
def test_a_test_that_turns_a_check_elsewhere_exists(file: str, name: str) -> None:
    assert f"def {name}(" in (ROOT / "tests" / file).read_text()


def test_every_metric_of_the_table_has_a_rule_or_a_panel() -> None:
    asked = grafana.read(grafana.RULES) + grafana.read(grafana.BOARD)
    named = {metric for row in rows() for metric in row.metrics}
    assert [metric for metric in named if metric not in asked] == []


def test_the_page_explains_where_to_find_it() -> None:
    assert "](operations.md#faults)" in Path(ROOT / "docs" / "monitoring.md").read_text()
