"""What a run leaves, as a few lines on stdout."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from hitsieve.cli.progress import per_second

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hitsieve.model import Problem
    from hitsieve.write import MissedSummary, Outputs, SegmentSummary, Summary


SURE = 1e-6
"""Shares below this are not told apart."""
SEGMENTS = 5
"""Most stretches of the run that are named."""
FILES = 10
"""Likewise, files."""


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


def print_summary(summary: Summary, *, searched: bool = True) -> None:
    """Print the counts, the hit rate and how sure it is, what the hits are like, and what a search kept and took."""
    rows = [
        ("images", f"{summary.n_images:,}"),
        ("hits", f"{summary.n_hits:,}"),
        ("misses", f"{summary.n_misses:,}"),
        ("unreadable", f"{summary.n_unreadable:,}"),
        ("missing", f"{summary.n_missing:,}"),
        ("hit rate", _hit_rate(summary)),
        ("rule", _rule(summary)),
        *_threshold_rows(summary),
        *_error_rows(summary),
        *_hit_rows(summary),
        *_index_rows(summary),
        *_segment_rows(summary),
        *_pump_rows(summary),
        *_bias_rows(summary),
    ]
    if searched:
        rows.append(("kept", _kept(summary)))
        rows.append(("speed", f"{per_second(summary.images_per_second)}, {summary.seconds:.1f} s in all"))
    _print_rows(rows)


def print_outputs(outputs: Outputs) -> None:
    """Print the name of every output, one a line, in full."""
    named: list[tuple[str, Path]] = [
        ("hits", outputs.hits),
        ("annotated", outputs.annotated),
        ("images", outputs.images),
        ("summary", outputs.summary),
        *(("of a state", path) for path in outputs.pump_hits),
        *(("misses", path) for path in (outputs.misses,) if path is not None),
    ]
    print()
    _print_rows([(what, str(path)) for what, path in named])


def print_next(outputs: Outputs) -> None:
    """Print what to call next, to be copied into a shell."""
    hits = quote(str(outputs.hits))
    print()
    _print_rows([("look", f"hitsieve report {hits}"), ("ask why", f"hitsieve explain {hits} 0")])


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


def _rule(summary: Summary) -> str:
    rule = summary.rule
    spots = f"{rule.min_spots} spots"
    what = {"spots": spots, "indexed": "a lattice", "either": f"{spots} or a lattice", "both": f"{spots} and a lattice"}
    return what[rule.rule]


def _threshold_rows(summary: Summary) -> list[tuple[str, str]]:
    rule = summary.rule
    if rule.origin == "given" or rule.rule == "indexed":
        return []
    return [("threshold", f"by default: {rule.reason}" if rule.origin == "default" else rule.reason)]


def _error_rows(summary: Summary) -> list[tuple[str, str]]:
    rows = []
    if summary.blanks is not None and summary.rule.rule in ("either", "spots"):
        low, high = summary.blanks.false_hit_rate_interval
        # What is fitted to some hundred blanks says nothing of one in a million.
        rate = summary.blanks.false_hit_rate
        says = f"{100 * rate:.2g} % of blanks" if rate >= SURE else f"fewer than {100 * SURE:g} % of blanks"
        most = summary.blanks.at_most
        bound = "" if most is None else f"; {_percent(most)} % at most: all with so many spots and no lattice"
        rows.append(("false hits", f"{says} (95 % interval {_percent(low)} to {_percent(high)} %{bound})"))
    if summary.missed is not None:
        rows.append(("missed hits", _missed(summary.missed)))
    return rows


def _missed(missed: MissedSummary) -> str:
    low, high = missed.n_lost_interval
    says = f"at least {missed.n_lost:,.0f} (95 % interval {low:,.0f} to {high:,.0f})"
    if missed.lost_share is not None and missed.lost_share_interval is not None:
        low, high = missed.lost_share_interval
        says += f", {_percent(missed.lost_share)} % of all hits ({_percent(low)} to {_percent(high)} %)"
    says += f": {missed.n_hits:,} of {missed.n:,} misses showed a lattice at a second look"
    return f"{says}; {missed.n_unknown:,} hits before were not" if missed.n_unknown else says


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share >= SURE else "0"


def _index_rows(summary: Summary) -> list[tuple[str, str]]:
    index = summary.index
    if index is None:
        return []
    cell = " ".join(f"{value:.2f}" for value in index.cell.parameters)
    rows = [("cell", f"{cell} {index.cell.centring} ({index.cell.origin})")]
    if index.indexing_rate is not None:
        lattices = number_of(index.n_lattices, "lattice")
        rows.append(("indexed", f"{100 * index.indexing_rate:.1f} % of the hits, {lattices}"))
    if index.geometry is not None:
        rows.append(("residual", f"{index.geometry.residual:.2f} pixels (median of {index.geometry.n_spots:,} spots)"))
    return rows


def _segment_rows(summary: Summary) -> list[tuple[str, str]]:
    if summary.segments is None:
        return []
    parts = summary.segments.segments
    stretches = [part for part in parts if part.kind != "jet running" and (part.kind != "unknown" or len(parts) > 1)]
    if not stretches:
        return []
    shown = "; ".join(map(_stretch, stretches[:SEGMENTS]))
    more = f"; and {len(stretches) - SEGMENTS} more" if len(stretches) > SEGMENTS else ""
    rows = [("stretches", shown + more)]
    if summary.segments.files_without_jet:
        rows.append(("no jet in", _files(summary.segments.files_without_jet)))
    if summary.segments.files_in_doubt:
        rows.append(("jet unclear", _files(summary.segments.files_in_doubt)))
    return rows


def _files(names: Sequence[str]) -> str:
    more = f" and {len(names) - FILES:,} more" if len(names) > FILES else ""
    return ", ".join(Path(name).name for name in names[:FILES]) + more


def _stretch(part: SegmentSummary) -> str:
    level = f" (background {part.background:.3g})" if part.kind == "unknown" and part.background is not None else ""
    return f"{part.kind} {part.first:,} to {part.last:,}{level}"


def _pump_rows(summary: Summary) -> list[tuple[str, str]]:
    if summary.pump is None:
        return []
    rows = []
    for state in summary.pump.states:
        rate = "-" if state.hit_rate is None else f"{100 * state.hit_rate:.2f} %"
        rows.append((state.name, f"{number_of(state.n_images, 'image')}, hit rate {rate}"))
    return rows


def _bias_rows(summary: Summary) -> list[tuple[str, str]]:
    return [("bias", test.statement) for test in summary.bias if test.differs]


def _kept(summary: Summary) -> str:
    of = "" if summary.source_bytes is None else f" of {size_of(summary.source_bytes)}"
    misses = f"{summary.audit.n:,} misses as a random sample"
    if summary.miss_bytes is not None:
        misses = f"{size_of(summary.miss_bytes)} in misses: all of them"
    return f"{size_of(summary.hit_bytes)}{of} in hits, and {misses}"


def number_of(n: int, what: str) -> str:
    """Say how many there are: 1 image, 2,000 images."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def size_of(n_bytes: int) -> str:
    """Say a number of bytes with three digits and a decimal unit: 36.6 MB."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 999.5 else f"{size:,.0f} TB"


def _print_rows(rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        print(f"{name:<12}{value}")
