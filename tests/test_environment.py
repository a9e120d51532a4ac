"""What Dramatiq reads from the environment is read here, too: under our names, and else under Dramatiq's."""

import os
import subprocess
import sys
from collections.abc import Iterable

import pytest

from tests.support.processes import ROOT

#: Each variable without its prefix, and the expression that shows what it was read as.
VARIABLES = {
    "restart_delay": "pgqueue.worker.CONSUMER_RESTART_DELAY",
    "queue_prefetch": "pgqueue.worker.QUEUE_PREFETCH",
    "delay_queue_prefetch": "pgqueue.worker.DELAY_QUEUE_PREFETCH",
    "worker_timeout": "pgqueue.Worker(StubBroker(), worker_threads=0).worker_timeout",
    "dead_message_ttl": "round(PostgresBroker('postgresql://')._dead_letter_ttl_s * 1000)",
    "group_callback_barrier_ttl": "GroupCallbacks(StubBackend()).barrier_ttl",
    "prom_port": "prometheus._address()[1]",
}

PROGRAM = """
import warnings, pgqueue.worker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import GroupCallbacks, prometheus
from pgqueue.rate_limits.backends import StubBackend
warnings.simplefilter("ignore")
print(*[{expressions}, prometheus.directory.directory(), prometheus._address()[0]])
"""


def read(environment: dict[str, str], variables: Iterable[str] = VARIABLES) -> list[str]:
    """What a new process reads."""
    program = PROGRAM.format(expressions=", ".join(VARIABLES[name] for name in variables))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def named(prefix: str, first: int) -> dict[str, str]:
    numbers = {f"{prefix}_{name}": str(first + at) for at, name in enumerate(VARIABLES)}
    return {**numbers, f"{prefix}_prom_db": f"/of/{prefix}", f"{prefix}_prom_host": f"{prefix}.example"}


@pytest.mark.parametrize(
    ("environment", "first", "prefix"),
    [
        (named("pgqueue", 100), 100, "pgqueue"),
        (named("dramatiq", 200), 200, "dramatiq"),
        ({**named("pgqueue", 100), **named("dramatiq", 200)}, 100, "pgqueue"),
    ],
    ids=["ours", "dramatiqs", "both"],
)
def test_our_names_come_first_and_dramatiqs_are_the_fall_back(
    environment: dict[str, str], first: int, prefix: str
) -> None:
    numbers = [str(first + at) for at in range(len(VARIABLES))]
    assert read(environment) == [*numbers, f"/of/{prefix}", f"{prefix}.example"]


def test_without_them_dramatiqs_defaults_hold() -> None:
    # How long dead letters are kept unless told otherwise is the pruner's, and its tests'.
    *numbers, directory, host = read({}, [name for name in VARIABLES if name != "dead_message_ttl"])
    assert [int(number) for number in numbers] == [3000, 0, 0, 1000, 86_400_000, 9191]
    assert directory.endswith(f"/pgqueue-prometheus-{os.geteuid()}")
    assert host == "0.0.0.0"  # noqa: S104
