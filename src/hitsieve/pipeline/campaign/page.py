"""The overview of an archive as a page: plots and tables in one file, which needs no network and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hitsieve.pipeline.campaign.overview import Campaign, CampaignFile, CampaignRun

LISTED = 1000
"""Most files in the table; all are in campaign_files.csv."""
POINTS = 400
"""Most points of the curve."""
WIDTH, HEIGHT, BAR = 640, 240, 14
"""Size of the curve, and height of a bar with its gap (pixels)."""
_HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>hitsieve campaign</title><style>
body { font: 14px sans-serif; margin: 2em; max-width: 75em }
table { border-collapse: collapse }
td, th { padding: 0.1em 0.7em; text-align: right; border-bottom: 1px solid #ddd }
td:last-child, th:last-child { text-align: left; overflow-wrap: anywhere }
</style></head><body>
<h1>hitsieve campaign</h1>
"""


def page(campaign: Campaign, said: Sequence[str]) -> str:
    """Make the page.

    Parameters
    ----------
    campaign : Campaign
    said : sequence of str
        Sentences that stand first.

    Returns
    -------
    str
        HTML; names of files are escaped.
    """
    files = campaign.files[:LISTED]
    more = len(campaign.files) - len(files)
    parts = [
        _HEAD,
        *(f"<p>{escape(line)}</p>\n" for line in said),
        "<h2>Hits by files fetched, in the order below</h2>\n",
        _curve(campaign.files),
        "<h2>Runs</h2>\n<p>Hit rate, with its 95 % interval.</p>\n",
        _bars(campaign.runs),
        _table(("hit rate", "hits", "images", "without jet", "MB", "MB of hits", "run"), map(_of_run, campaign.runs)),
        "<h2>Files, in the order in which to fetch them</h2>\n",
        _table(("hit rate", "hits", "images", "jet", "MB", "hits so far", "file"), map(_of_file, files)),
        f"<p>and {more:,} more in campaign_files.csv</p>\n" if more else "",
        "<h2>Without results</h2>\n" if campaign.without else "",
        _table(("path", "reason"), campaign.without) if campaign.without else "",
        "</body></html>\n",
    ]
    return "".join(parts)


def _of_run(run: CampaignRun) -> tuple[str, ...]:
    sizes = (_megabytes(run.source_bytes), _megabytes(run.hit_bytes))
    counts = (f"{run.n_hits:,}", f"{run.n_images:,}", f"{run.n_without_jet:,}")
    return (_percent(run.hit_rate), *counts, *sizes, run.source)


def _of_file(file: CampaignFile) -> tuple[str, ...]:
    rate = _percent(file.hits / file.images if file.images else None)
    counts = (f"{file.hits:,}", f"{file.images:,}", file.jet)
    return (rate, *counts, _megabytes(file.bytes), f"{file.hits_so_far:,}", file.path)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def row(kind: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>\n"

    return "<table>\n" + row("th", names) + "".join(row("td", cells) for cells in rows) + "</table>\n"


def _curve(files: Sequence[CampaignFile]) -> str:
    """Share of all hits over bytes, or files where a size is unknown; the straight line is what chance would give."""
    if not files or not files[-1].hits_so_far:
        return "<p>There are none.</p>\n"
    by_size = bool(files[-1].bytes_so_far)
    gone = [(file.bytes_so_far or 0) if by_size else n for n, file in enumerate(files, start=1)]
    step = -(-len(files) // POINTS)
    chosen = sorted({*range(0, len(files), step), len(files) - 1})
    shares = [(gone[i] / gone[-1], files[i].hits_so_far / files[-1].hits_so_far) for i in chosen]
    points = " ".join(f"{x * WIDTH:.1f},{(1 - y) * HEIGHT:.1f}" for x, y in [(0.0, 0.0), *shares])
    along = f"0 to {_megabytes(gone[-1])} MB" if by_size else f"0 to {gone[-1]:,} files"
    frame = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>'
    chance = f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="0" stroke="#bbb" stroke-dasharray="4"/>'
    line = f'<polyline points="{points}" fill="none" stroke="#1f5fa8" stroke-width="2"/>'
    told = f"<p>Across: {along} fetched; up: 0 to {files[-1].hits_so_far:,} hits. Dashed: in no order.</p>\n"
    return _svg(WIDTH, HEIGHT, frame + chance + line) + told


def _bars(runs: Sequence[CampaignRun]) -> str:
    known = [
        (run.hit_rate, run.hit_rate_low, run.hit_rate_high, run.source) for run in runs if run.hit_rate is not None
    ]
    largest = max((high or rate for rate, _, high, _ in known), default=0.0) or 1.0
    drawn = []
    for n, (rate, low, high, source) in enumerate(known):
        across, y = WIDTH / largest, n * BAR
        bar = f'<rect y="{y}" width="{rate * across:.1f}" height="{BAR - 4}" fill="#1f5fa8"/>'
        ends = f'x1="{(low or 0.0) * across:.1f}" x2="{(high or rate) * across:.1f}" y1="{y + 5}" y2="{y + 5}"'
        drawn.append(f'<g><title>{escape(source)}: {_percent(rate)}</title>{bar}<line {ends} stroke="#e08214"/></g>')
    return _svg(WIDTH, max(len(known), 1) * BAR, "\n".join(drawn))


def _svg(width: int, height: int, inside: str) -> str:
    return f'<svg width="{width}" height="{height}" viewBox="-1 -1 {width + 2} {height + 2}">{inside}</svg>\n'


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _megabytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes * 1e-6:,.1f}"
