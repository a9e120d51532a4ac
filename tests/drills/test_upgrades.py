"""A rolling upgrade: workers and senders of the release before, on the schema of this one and beside its workers."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pgqueue import schema
from tests.support.eventually import eventually
from tests.support.processes import ROOT
from tests.support.releases import Release, previous_release

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

#: Without the working directory before PYTHONPATH.
PROGRAM = ["-P", "-m", "tests.drills.public"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_release_before_on_the_new_schema_and_beside_the_new_one(
    empty_database_url: str,
    ledger: Ledger,
    dice: random.Random,
    scale: Scale,
    report: Callable[..., None],
    tmp_path: Path,
) -> None:
    """Up, and back: the old workers go on beneath a migration, are started on the new schema, and share the work."""
    url, seconds = empty_database_url, scale(0, 20)
    release = previous_release(tmp_path / "previous")
    schema.upgrade(url, revision=release.required_revision)
    with (
        old(url, ledger, release, "4") as workers,
        old(url, ledger, release, "0", str(dice.random())) as senders,
        Fleet(url, ledger, command=[*PROGRAM, "4"]) as new,
    ):
        workers.start(1)
        senders.start(1)
        let_run(ledger, workers, seconds)
        schema.upgrade(url)
        with Load(url, ledger, dice, rate=50):
            let_run(ledger, workers, seconds)
            new.start(1)
            let_run(ledger, new, seconds)
            assert workers.stop(workers.workers[0]) == 0, workers.output
            let_run(ledger, new, seconds)
            workers.start(1)  # the deployment is taken back
            assert new.stop(new.workers[0]) == 0, new.output
            let_run(ledger, workers, seconds)
        new.start(1)
        assert senders.stop(senders.workers[0]) == 0, senders.output
        wait_until_drained(url, ledger)
        assert [workers.stop(workers.workers[0]), new.stop(new.workers[0])] == [0, 0], workers.output
        assert f"up {release.path}" in workers.output
        assert f"up {ROOT}" in new.output
    report(examine(url, ledger), previous=release.name, revision=release.required_revision)


def old(url: str, ledger: Ledger, release: Release, *arguments: str) -> Fleet:
    """Workers or senders of another release; what else they import is this checkout's."""
    path = os.pathsep.join([str(release.path), str(ROOT)])
    return Fleet(url, ledger, command=[*PROGRAM, *arguments], env={"PYTHONPATH": path})


def let_run(ledger: Ledger, fleet: Fleet, seconds: float) -> None:
    """Let everything go on for so long, and then until the newest of a fleet has run something more."""
    time.sleep(seconds)
    pid, since = fleet.workers[-1].pid, time.time()

    def look() -> None:
        runs = [run for runs in Facts.of(ledger).runs.values() for run in runs]
        assert any(run.pid == pid and run.started_at > since for run in runs), fleet.output

    eventually(look, within_s=20.0)
