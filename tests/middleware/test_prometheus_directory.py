"""The directory of the metrics has a name that everybody knows; nobody else's is taken for it."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import values

from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import BadSetting
from pgqueue.middleware import prometheus
from pgqueue.middleware.prometheus import Prometheus
from pgqueue.middleware.prometheus.directory import made_directory


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the metrics are by default, in a directory of temporary files that is the test's own."""
    for name in ("pgqueue_prom_db", "dramatiq_prom_db", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"pgqueue-prometheus-{os.geteuid()}"


def a_link(directory: Path) -> None:
    elsewhere = directory.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    directory.symlink_to(elsewhere)


def a_dangling_link(directory: Path) -> None:
    directory.symlink_to(directory.with_name("nowhere"))


def a_file(directory: Path) -> None:
    directory.touch()


def one_for_all(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def one_for_a_group(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o770)


def somebody_elses(directory: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a directory for somebody else")
    directory.mkdir(mode=0o755)
    os.chown(directory, 65534, 65534)


@pytest.fixture(
    params=[a_link, a_dangling_link, a_file, one_for_all, one_for_a_group, somebody_elses],
    ids=lambda plant: plant.__name__,
)
def planted(directory: Path, request: pytest.FixtureRequest) -> Path:
    """The directory, as somebody else has made it."""
    plant: Callable[[Path], None] = request.param
    plant(directory)
    return directory


def test_it_is_closed_to_others_and_found_by_the_next_process(directory: Path) -> None:
    assert made_directory() == directory
    assert directory.stat().st_mode & 0o777 == 0o700
    (directory / "counter_1.db").touch()
    assert made_directory() == directory
    assert (directory / "counter_1.db").exists()


def test_one_that_may_be_read_is_taken(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    assert made_directory() == directory


def test_what_somebody_else_has_made_is_refused_with_the_way_out(planted: Path) -> None:
    with pytest.raises(
        BadSetting, match=f"^{re.escape(str(planted))} .* user {os.geteuid()}.*pgqueue_prom_db="
    ):
        made_directory()


def test_it_is_refused_as_well_where_a_process_has_noted_it(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(planted))
    with pytest.raises(BadSetting):
        made_directory()


def test_one_that_the_program_names_is_its_own_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "of" / "several"
    monkeypatch.setenv("pgqueue_prom_db", str(shared))
    assert made_directory() == shared
    shared.chmod(0o777)
    assert made_directory() == shared


def test_a_worker_writes_nothing_there_and_works_on(
    planted: Path, stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    middleware = Prometheus()
    stub_broker.add_middleware(middleware)
    stub_broker.emit_after("process_boot")
    assert str(planted) in caplog.text
    assert middleware._metrics is None
    assert not list(planted.parent.rglob("*.db"))


def test_metrics_are_not_served_from_there(
    planted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with caplog.at_level(logging.CRITICAL):
        assert prometheus._run_exposition_server() == 1
    assert f"Can't serve metrics: {planted}" in caplog.text
