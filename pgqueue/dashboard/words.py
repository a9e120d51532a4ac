"""Numbers, times and values as pages have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..clock import server_now
from ..operations.values import as_json
from ..operations.wording import size, span

__all__ = ["FILTERS"]

#: Characters of a value that a page shows.
LONGEST = 20_000

#: What stands where there is no number.
NOTHING = "\N{EN DASH}"


def number(value: float, most: int | None = None) -> str:
    """``12,345``; ``10,000+`` where it was counted no further."""
    return f"{value:,.0f}" + ("+" if most is not None and value >= most else "")


def rate(value: float | None) -> str:
    """Messages a second, or a minute where they are few."""
    if value is None:
        return NOTHING
    if value <= 0:
        return "0/s"
    if value < 0.95:
        return f"{value * 60:.2g}/min"
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"


def share(part: float, whole: float) -> str:
    """A part in per cent."""
    if not whole or not part:
        return "0 %"
    per_cent = 100 * part / whole
    return "< 0.1 %" if per_cent < 0.1 else f"{per_cent:.1f} %" if per_cent < 10 else f"{per_cent:.0f} %"


def ms(value: float | None) -> str:
    """Milliseconds as people read them."""
    return NOTHING if value is None else span(value / 1000)


def since(instant: datetime) -> str:
    """How long ago, or in how long, something is."""
    passed_s = (server_now() - instant).total_seconds()
    return f"in {span(-passed_s)}" if passed_s < -0.5 else f"{span(max(0.0, passed_s))} ago"


def passed(instant: datetime) -> str:
    """For how long something has lasted."""
    return span(max(0.0, (server_now() - instant).total_seconds()))


def clock(instant: datetime) -> str:
    """An instant in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def volume(value: float | None) -> str:
    """Bytes as people read them, few ones too."""
    if value is None:
        return NOTHING
    if value < 1_000:
        return f"{value:.0f} bytes"
    return f"{value / 1024:,.1f} kB" if value < 10 * 1024**2 else size(int(value))


def moment(instant: datetime) -> str:
    """An instant in UTC, to the millisecond."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{instant.microsecond // 1000:03}"


def pretty(value: Any) -> str:
    """A value as indented JSON, cut where it is long."""
    text = as_json(value)
    if len(text) <= 10 * LONGEST:  # indented, a much longer one could be hundreds of times as long
        text = as_json(value, indent=2)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters"


def one_line(text: str | None, length: int = 200) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


FILTERS = {
    "clock": clock, "moment": moment, "ms": ms, "number": number, "one_line": one_line, "passed": passed,
    "pretty": pretty, "rate": rate, "share": share, "since": since, "size": size, "span": span, "volume": volume,
}  # fmt: skip
