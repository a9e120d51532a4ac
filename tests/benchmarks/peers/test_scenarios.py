from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from benchmarks.peers import environments, scenarios
from benchmarks.peers.environments import Environment
from benchmarks.peers.peer import Peer, load
from benchmarks.peers.scenarios import Options, Outcome
from benchmarks.peers.services import Services

FEW = Options(messages=100, rounds=1, paced=3, patience_s=2.0, held=False)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return environments.make(load("pgqueue"), tmp_path)


def with_worker(source: str) -> Peer:
    """pgqueue with a worker of the test's own making."""
    return dataclasses.replace(load("pgqueue"), worker=(sys.executable, "-c", source))


def measure(peer: Peer, environment: Environment, url: str, options: Options = FEW) -> Outcome:
    outcome = Outcome(peer.name, peer.title)
    scenarios.measure(peer, environment, Services(url), options, outcome)
    return outcome


@pytest.mark.long
@pytest.mark.timeout(120)
def test_workers_that_do_not_start_are_told_with_their_last_words(
    environment: Environment, database_url: str
) -> None:
    outcome = measure(with_worker("raise SystemExit('out of paper')"), environment, database_url)
    assert outcome.notes == ["drain: the workers ran nothing: out of paper"]
    assert outcome.drain is None
    assert outcome.send is not None
    assert not outcome.exactly_once


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_queue_that_loses_and_repeats_messages_is_found_out(
    environment: Environment, database_url: str
) -> None:
    # Of two such workers one is enough to run everything that is run, each message by both.
    source = """
import time
from benchmarks.peers import ledger
for number in range(99):
    ledger.done(number)
time.sleep(600)
"""
    outcome = measure(with_worker(source), environment, database_url)
    assert outcome.checks["drain"] == "1 never ran, 99 ran more than once"
    assert "drain: 99 of 100 had run after 2 s" in outcome.notes
    assert not outcome.exactly_once


@pytest.mark.long
@pytest.mark.timeout(120)
def test_what_a_killed_worker_was_at_and_nobody_takes_over_is_counted(
    environment: Environment, database_url: str
) -> None:
    peer, outcome = load("pgqueue"), Outcome("pgqueue", "pgqueue")
    impatient = dataclasses.replace(FEW, recovery_s=0.1)
    scenarios.measure_recovery(peer, environment, Services(database_url), impatient, outcome)
    assert (outcome.recovery_s, outcome.waited_s) == (None, 0.1)
    assert len(outcome.notes) == 1
    assert "of 16 had not run 0 s after the kill" in outcome.notes[0]
