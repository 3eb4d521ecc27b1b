"""Small drawings in tables, as numbers for SVG; used in templates as filters."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH, HEIGHT = 92.0, 22.0
"""Of a line, in units of its drawing."""


def line_of(values: Sequence[float | None]) -> str:
    """Path of a line through values from 0 to the largest; a gap where one is not known.

    One value is all of the run, and goes from end to end.
    """
    if len(values) == 1:
        values = [*values, *values]
    known = [value for value in values if value is not None]
    top = max(known, default=0.0) or 1.0
    step = WIDTH / max(1, len(values) - 1)
    parts: list[str] = []
    pen_down = False
    for i, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        at = f"{i * step:.1f} {1 + (HEIGHT - 2) * (1 - value / top):.1f}"
        # A value between gaps is a dot.
        alone = not pen_down and (i + 1 == len(values) or values[i + 1] is None)
        parts.append(f"{'L' if pen_down else 'M'}{at}" + ("h.1" if alone else ""))
        pen_down = True
    return "".join(parts)


def said_of(values: Sequence[float | None]) -> str:
    """The same in words."""
    known = [100 * value for value in values if value is not None]
    if not known:
        return "not known"
    return f"from {known[0]:.3g} % to {known[-1]:.3g} %, least {min(known):.3g} %, most {max(known):.3g} %"


def share_of(value: float | None, top: float) -> str:
    """How far along an axis from 0 to `top` a value is, in %, to a hundredth."""
    return f"{100 * min(1.0, max(0.0, (value or 0.0) / top)):.2f}"
