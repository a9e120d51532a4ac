"""Spans of time and numbers in words, as people read them."""

from datetime import timedelta

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def span(seconds: float) -> str:
    """A span of time in its two greatest units: ``3 d 4 h``, ``2 min 5 s``, ``1.5 s``, ``12 ms``."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for number, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            smaller, name = _UNITS[number + 1] if number + 1 < len(_UNITS) else (1, "s")
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def ago(time: timedelta) -> str:
    """How long ago something was; a little in the future is now."""
    return f"{span(max(0.0, time.total_seconds()))} ago"


def size(number: int) -> str:
    """So many bytes, in MB (of 1024 * 1024) or GB."""
    megabytes = number / 1024**2
    return f"{megabytes:,.0f} MB" if megabytes < 10_000 else f"{megabytes / 1024:,.1f} GB"


def more(number: int, noun: str, *, most: int | None = None) -> str:
    """A number of things: ``1 worker``, ``2 workers``; ``10,000 or more`` where it was counted no further."""
    beyond = " or more" if most is not None and number >= most else ""
    return f"{number:,}{beyond} {noun}{'' if number == 1 else 's'}"
