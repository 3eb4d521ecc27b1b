"""The overview of an archive as one page that opens without a server and without a network; it holds no script."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from hitsieve.pipeline.campaign import Campaign, CampaignFile, CampaignRun
from hitsieve.serve.pages import STATIC, render

MOST_POINTS = 400
"""Points of a curve."""
STEPS = 6
"""Shades for the hit rate of a file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run as it is shown."""

    run: CampaignRun
    name: str
    """Last part of its path."""
    files: tuple[tuple[str, str], ...]
    """Of each file, in the order of their names: how it is drawn, and what it says."""


def campaign_page(campaign: Campaign, told: Sequence[str]) -> str:
    """The page of a campaign: HTML.

    Parameters
    ----------
    campaign : Campaign
    told : sequence of str
        What it comes to, in sentences.
    """
    by_run: dict[str, list[CampaignFile]] = defaultdict(list)
    for file in campaign.files:
        by_run[file.run].append(file)
    top = max((_rate(file) for file in campaign.files), default=0.0)
    rows = [
        Row(run, PurePath(run.source).name, tuple(_cells(sorted(by_run[run.source], key=lambda one: one.path), top)))
        for run in campaign.runs
    ]
    highest = max((run.hit_rate_high or 0.0 for run in campaign.runs), default=0.0) or 1.0
    style = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("style.css", "campaign.css"))
    by_bytes = all(file.bytes_so_far is not None for file in campaign.files)
    context = {
        "style": style,
        "hashes": (),
        "totals": campaign.totals,
        "told": told,
        "rows": rows,
        "top": highest,
        "curve": _curve(campaign.files, by_bytes=by_bytes),
        "fetched": "bytes" if by_bytes else "files",
        "marks": _marks(campaign.files, by_bytes=by_bytes),
        "without": campaign.without,
    }
    return render("campaign.html", context)


def _cells(files: Sequence[CampaignFile], top: float) -> Iterator[tuple[str, str]]:
    for file in files:
        rate = _rate(file)
        shade = 0 if not file.hits else 1 + min(STEPS - 2, int((STEPS - 1) * rate / top))
        look = "stopped" if file.jet == "stopped" and not file.hits else f"shade-{shade}"
        jet = "; the jet never ran" if file.jet == "stopped" else ""
        yield look, f"{PurePath(file.path).name}: {file.hits:,} hits of {file.images:,} images{jet}"


def _rate(file: CampaignFile) -> float:
    return file.hits / file.images if file.images else 0.0


def _shares(files: Sequence[CampaignFile], *, by_bytes: bool) -> list[tuple[float, float]]:
    """Share fetched and share of the hits, after each file in the order of fetching."""
    hits = files[-1].hits_so_far if files else 0
    whole = (files[-1].bytes_so_far or 0) if files and by_bytes else len(files)
    if not hits or not whole:
        return []
    got = [(file.bytes_so_far or 0) if by_bytes else n for n, file in enumerate(files, start=1)]
    return [(0.0, 0.0), *((some / whole, file.hits_so_far / hits) for some, file in zip(got, files, strict=True))]


def _curve(files: Sequence[CampaignFile], *, by_bytes: bool) -> str:
    """Path of a line from (0, 100) to (100, 0)."""
    shares = _shares(files, by_bytes=by_bytes)
    step = max(1, len(shares) // MOST_POINTS)
    points = [*shares[::step], *shares[-1:]]
    return " ".join(f"{100 * x:.2f},{100 * (1 - y):.2f}" for x, y in points)


def _marks(files: Sequence[CampaignFile], *, by_bytes: bool) -> list[tuple[float, float]]:
    """Of some shares of the hits: the share to be fetched for them."""
    shares = _shares(files, by_bytes=by_bytes)
    return [(wanted, next(x for x, y in shares if y >= wanted)) for wanted in (0.5, 0.9, 1.0)] if shares else []
