"""What a run leaves, as a few lines on stdout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hitsieve.model import Problem
    from hitsieve.write import Outputs, Summary


class Warnings:
    """Prints each problem once, a line on stderr."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, problems: Iterable[Problem]) -> None:
        """Print those that were not yet printed."""
        for text in map(str, problems):
            if text not in self._said:
                self._said.add(text)
                print("hitsieve: warning:", text, file=sys.stderr, flush=True)


def print_summary(summary: Summary) -> None:
    """Print the counts, the hit rate, what the hits are like, what was kept, and the speed."""
    rows = [
        ("images", f"{summary.n_images:,}"),
        ("hits", f"{summary.n_hits:,}"),
        ("misses", f"{summary.n_misses:,}"),
        ("unreadable", f"{summary.n_unreadable:,}"),
        ("missing", f"{summary.n_missing:,}"),
        ("hit rate", _hit_rate(summary)),
        *_hit_rows(summary),
        ("kept", _kept(summary)),
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


def _hit_rows(summary: Summary) -> list[tuple[str, str]]:
    rows = []
    if summary.n_spots_median_hits is not None:
        rows.append(("spots", f"{summary.n_spots_median_hits:.0f} a hit (median)"))
    if summary.resolution_hits is not None:
        rows.append(("resolution", f"{summary.resolution_hits.p50:.2f} angstrom (median of hits)"))
    return rows


def _kept(summary: Summary) -> str:
    of = "" if summary.source_bytes is None else f" of {_size(summary.source_bytes)}"
    return f"{_size(summary.hit_bytes)}{of} in hits, and {summary.audit.n:,} misses as a random sample"


def _size(n_bytes: int) -> str:
    """Three digits and a decimal unit: 36.6 MB."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:<12}{value}")
