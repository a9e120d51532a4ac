"""Small charts as SVG, made by the server: they are there without JavaScript."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["FILTERS"]


def spark(values: Sequence[float | None], width: int = 120, height: int = 28) -> Markup:
    """A line of values with the area below it; it leaves out what is not known."""
    known = [(number, value) for number, value in enumerate(values) if value is not None]
    if not known:
        return Markup("")
    top = max(1e-9, *(value for _, value in known))
    step = width / max(1, len(values) - 1)
    points = [
        f"{number * step:.1f},{height - 1.5 - (height - 3) * value / top:.1f}" for number, value in known
    ]
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" width="{w}" height="{h}" preserveAspectRatio="none" '
        'aria-hidden="true">'
        '<polygon points="{first:.1f},{h} {line} {last:.1f},{h}"/><polyline points="{line}"/></svg>'
    ).format(w=width, h=height, line=" ".join(points), first=known[0][0] * step, last=known[-1][0] * step)


def bar(part: float, whole: float) -> Markup:
    """A bar that is full to a part of its length."""
    filled = 0.0 if whole <= 0 else min(100.0, 100.0 * part / whole)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="bar-all" width="100" height="6"/><rect class="bar-part" width="{:.1f}" height="6"/></svg>'
    ).format(filled)


FILTERS = {"bar": bar, "spark": spark}
