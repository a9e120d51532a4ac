"""What all drills share: how long they take, their seed, their ledger, and their reports."""

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .checks import Verdicts
from .ledger import Ledger


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the drills, for `make drills`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("drill")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything: short, usual (between both), full, or as much as docs/reliability.md gives figures of."""

    level: str

    @property
    def full(self) -> bool:
        """Whether it is as much as a judgement takes that is about many."""
        return self.level in {"full", "reach"}

    def __call__(self, short: int, full: int, reach: int | None = None) -> int:
        if self.level == "reach" and reach is not None:
            return reach
        if self.level == "usual":
            return round(math.sqrt(short * full))
        return full if self.full else short


@pytest.fixture(scope="session")
def scale() -> Scale:
    """Short, unless PGQUEUE_DRILLS says otherwise."""
    return Scale(os.environ.get("PGQUEUE_DRILLS", "short"))


@pytest.fixture
def seed() -> int:
    """A new seed for each run, or that of PGQUEUE_DRILL_SEED."""
    given = os.environ.get("PGQUEUE_DRILL_SEED")
    return int(given) if given else random.SystemRandom().randrange(2**31)


@pytest.fixture
def dice(seed: int) -> random.Random:
    """All that is random in a drill comes from here."""
    return random.Random(seed)  # noqa: S311  (keeps no secret)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    made = Ledger(tmp_path / "ledger")
    yield made
    made.close()


@pytest.fixture
def report(request: pytest.FixtureRequest, seed: int) -> Callable[..., None]:
    """Report what a drill found, and fail if that is not clean."""
    began = time.monotonic()

    def add(verdicts: Verdicts, **figures: object) -> None:
        name = request.node.name.removeprefix("test_").replace("_", " ")
        checks = {check: len(getattr(verdicts, check)) for check in ("lost", "overlap", "phantom", "stuck")}
        line = {"drill": name, "seed": seed, "seconds": round(time.monotonic() - began, 1), **checks}
        # Printed at the end of the run, by tests/conftest.py; this may be one of several processes.
        request.node.user_properties.append(("drill", json.dumps({**line, **verdicts.figures, **figures})))
        verdicts.assert_clean()
        if verdicts.figures:  # else they are no verdicts on a ledger
            verdicts.assert_tried()

    return add
