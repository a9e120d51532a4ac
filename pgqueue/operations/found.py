"""What a look of the doctor's has found."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one look has found; ``remedy`` is the command or setting that mends it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None
