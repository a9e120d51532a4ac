"""Verdicts as the arrays that settle.sql wants, for those of its parts that few groups need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .arrays import blobs, integers, plain, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .messages import Verdict

__all__ = ["Failure", "dead_columns", "failure_columns", "parts_for", "result_columns"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that has failed; ``retries`` is how many have failed before it."""

    error: str
    traceback: str | None
    retries: int | None


def parts_for(verdicts: Sequence[Verdict]) -> frozenset[str]:
    """The parts of the statement that some verdicts need."""
    needed = {
        "dead_letters": any(verdict.reason is not None for verdict in verdicts),
        "failures": any(verdict.failure is not None for verdict in verdicts),
        "results": any(verdict.results for verdict in verdicts),
        "follow_ups": any(verdict.follow_ups for verdict in verdicts),
    }
    return frozenset(part for part, is_needed in needed.items() if is_needed)


def dead_columns(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """What goes to the dead letters."""
    dead = [v for v in verdicts if v.reason is not None]
    return {
        "dead_ids": integers([v.message.id for v in dead]),
        "dead_reasons": texts([v.reason for v in dead]),
        "dead_tracebacks": texts([v.traceback for v in dead]),
    }


def failure_columns(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Attempts that have failed."""
    failures = [(v.message.id, v.failure) for v in verdicts if v.failure is not None]
    return {
        "failed_ids": integers([id_ for id_, _ in failures]),
        "failed_retries": plain([failure.retries for _, failure in failures]),
        "failed_errors": texts([failure.error for _, failure in failures]),
        "failed_tracebacks": texts([failure.traceback for _, failure in failures]),
    }


def result_columns(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Results that are stored."""
    results = [(v.message.id, result) for v in verdicts for result in v.results]
    return {
        "result_ids": integers([parent for parent, _ in results]),
        "result_keys": texts([result.key for _, result in results]),
        "result_values": blobs([result.value for _, result in results]),
        "result_ttls_ms": plain([result.ttl_ms for _, result in results]),
    }
