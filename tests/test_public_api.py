from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pgqueue
from tests.support.processes import ROOT

DRAMATIQS = [
    "Actor",
    "GenericActor",
    "actor",
    "Broker",
    "Consumer",
    "MessageProxy",
    "get_broker",
    "set_broker",
    "group",
    "pipeline",
    "Encoder",
    "JSONEncoder",
    "PickleEncoder",
    "DramatiqError",
    "BrokerError",
    "DecodeError",
    "ActorNotFound",
    "QueueNotFound",
    "QueueJoinTimeout",
    "BrokerConnectionError",
    "ConnectionClosed",
    "ConnectionFailed",
    "RateLimitExceeded",
    "Retry",
    "get_logger",
    "Message",
    "get_encoder",
    "set_encoder",
    "Middleware",
    "Worker",
    "ConsumerThread",
    "WorkerThread",
]


def test_all_of_dramatiqs_names_are_there() -> None:
    assert len(DRAMATIQS) == 32
    assert set(DRAMATIQS) <= set(pgqueue.__all__)


def test_every_public_name_leads_somewhere() -> None:
    for name in pgqueue.__all__:
        assert getattr(pgqueue, name) is not None
    assert pgqueue.__version__


def test_groups_have_no_public_names_beyond_those_promised() -> None:
    promised = "add_completion_callback completed completed_count get_results run wait"
    ours = "run_async results_async wait_async"
    found = {name for name in vars(pgqueue.group) if not name.startswith("_")}
    assert found == set(f"{promised} {ours}".split())


def test_the_old_name_of_connection_errors_warns() -> None:
    with pytest.warns(DeprecationWarning, match="BrokerConnectionError"):
        assert pgqueue.ConnectionError is pgqueue.BrokerConnectionError


def test_there_is_no_other_dynamic_name() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = pgqueue.Nothing


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, pgqueue, pgqueue.results.backends, pgqueue.rate_limits.backends, pgqueue.brokers.stub\n"
        "import pgqueue.worker, pgqueue.brokers.postgres, pgqueue.results.backends.postgres\n"
        "print(*sorted({'sqlalchemy', 'alembic', 'prometheus_client', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []


@pytest.mark.long
def test_what_importing_costs_can_be_measured() -> None:
    script = ROOT / "benchmarks" / "import_time.py"
    command = [sys.executable, str(script), "--runs", "1", "--json"]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert figures["psycopg_ms"] > 0
    beyond = figures["with_broker_ms"] - figures["psycopg_ms"]
    assert figures["with_broker_beyond_ms"] == pytest.approx(beyond, abs=0.11)
