"""What a run leaves, as a few lines on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hitsieve.write import Outputs, Summary


def print_summary(summary: Summary) -> None:
    """Print the counts, the hit rate and the speed."""
    rows = [
        ("images", f"{summary.n_images:,}"),
        ("hits", f"{summary.n_hits:,}"),
        ("misses", f"{summary.n_misses:,}"),
        ("unreadable", f"{summary.n_unreadable:,}"),
        ("missing", f"{summary.n_missing:,}"),
        ("hit rate", _hit_rate(summary)),
        ("speed", f"{summary.images_per_second:,.0f} images/s, {summary.seconds:.1f} s in all"),
    ]
    _print_rows(rows)


def print_outputs(outputs: Outputs) -> None:
    """Print the name of every output, one a line, in full."""
    named: list[tuple[str, Path]] = [
        ("hits", outputs.hits),
        ("annotated", outputs.annotated),
        ("images", outputs.images),
        ("summary", outputs.summary),
    ]
    print()
    _print_rows([(what, str(path)) for what, path in named])


def _hit_rate(summary: Summary) -> str:
    if summary.hit_rate is None or summary.hit_rate_interval is None:
        return "unknown: no image could be searched"
    low, high = summary.hit_rate_interval
    return f"{100 * summary.hit_rate:.2f} % (95 % interval {100 * low:.2f} to {100 * high:.2f} %)"


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:<12}{value}")
