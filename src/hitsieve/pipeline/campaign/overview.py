"""What the runs of an archive hold: run by run, and file by file in the order in which to fetch them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from hitsieve.errors import SourceError
from hitsieve.pipeline.archive import Scanned
from hitsieve.pipeline.recall import SourceFile, recall
from hitsieve.write import SUMMARY_SUFFIX, Outputs, read_summary, write_texts

Cell = tuple[float, float, float, float, float, float]
_SUMMED = (
    *("n_images", "n_hits", "n_misses", "n_unreadable", "n_missing", "n_without_jet"),
    *("source_bytes", "source_bytes_with_hits", "hit_bytes"),
)
"""Fields of a run that are added up."""


@dataclass(frozen=True, slots=True)
class CampaignRun:
    """One run, by its results."""

    source: str
    """The file that was sieved, absolute."""
    summary: str
    """Its summary, absolute."""
    n_files: int
    n_images: int
    n_hits: int
    n_misses: int
    n_unreadable: int
    n_missing: int
    hit_rate: float | None
    hit_rate_low: float | None
    """Lower end of the 95 % interval."""
    hit_rate_high: float | None
    indexing_rate: float | None
    cell: Cell | None
    """a, b, c (angstrom), alpha, beta, gamma (degrees) that was looked for."""
    resolution: float | None
    """Median estimate of the hits (angstrom)."""
    n_without_jet: int
    """Images with the jet stopped or the beam off."""
    files_without_jet: int
    """Files in which the jet never ran."""
    files_without_hits: int
    source_bytes: int | None
    """Size of the files with its images; where they are not there, stored bytes of the images; None where unknown."""
    source_bytes_with_hits: int | None
    """Size of those files that hold hits; None where a size is unknown."""
    hit_bytes: int
    """Size of the hit-only file."""


@dataclass(frozen=True, slots=True)
class CampaignFile:
    """One file of a source, in the order in which to fetch files."""

    path: str
    run: str
    """The file that was sieved, absolute."""
    images: int
    hits: int
    jet: str
    """ran, stopped, unclear or unknown."""
    bytes: int | None
    hits_so_far: int
    """Hits of this file and those before it."""
    bytes_so_far: int | None
    """Bytes of this file and those before it; None from the first unknown size on."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """The runs of an archive that have results."""

    runs: tuple[CampaignRun, ...]
    """By hit rate, the highest first."""
    files: tuple[CampaignFile, ...]
    """By hits a byte, most first: who fetches them in this order has most hits at any time. One that several runs show
    is here once, by the run that has most images of it."""
    without: tuple[tuple[str, str], ...]
    """Runs that have no results, and files that cannot be read, with the reason."""
    n_shared: int = 0
    """Files that several runs show: their images count in each."""

    @property
    def totals(self) -> dict[str, int | None]:
        """Sums, of images over the runs, of files over the files; None where a part is unknown."""
        whole: dict[str, int | None] = {
            "n_runs": len(self.runs),
            "n_files": len(self.files),
            "n_shared_files": self.n_shared,
            "files_without_jet": sum(file.jet == "stopped" for file in self.files),
            "files_without_hits": sum(file.hits == 0 for file in self.files),
        }
        whole |= {name: _total([getattr(run, name) for run in self.runs]) for name in _SUMMED}
        sizes = _total([file.bytes for file in self.files])
        if self.n_shared and sizes is not None:
            whole["source_bytes"] = sizes
            whole["source_bytes_with_hits"] = sum(file.bytes or 0 for file in self.files if file.hits)
        return whole


def look_at(scanned: Iterable[Scanned], *, step: Callable[[int], None] | None = None) -> Campaign:
    """Put together what the results of a scan say; one run at a time is read.

    Parameters
    ----------
    scanned : iterable of Scanned
        What became of each run.
    step : callable, optional
        Called with the number of runs read, after each.
    """
    runs: list[CampaignRun] = []
    files: dict[str, tuple[str, SourceFile]] = {}
    shared: set[str] = set()
    without: list[tuple[str, str]] = []
    for n, one in enumerate(scanned, start=1):
        if one.results is None:
            without.append((str(one.path), one.why))
        else:
            try:
                run, of_run = _run(one.results)
            except SourceError as error:
                without.append((str(one.path), str(error)))
            else:
                runs.append(run)
                for file in of_run:
                    before = files.get(file.path)
                    if before is not None:
                        shared.add(file.path)
                    if before is None or file.images > before[1].images:
                        files[file.path] = (run.source, file)
        if step is not None:
            step(n)
    runs.sort(key=lambda run: (-(run.hit_rate or 0.0), run.source))
    return Campaign(tuple(runs), tuple(_in_order([*files.values()])), tuple(without), len(shared))


def write_campaign(campaign: Campaign, folder: Path, page: str | None = None) -> list[Path]:
    """Write campaign.json, campaign_runs.csv and campaign_files.csv, in place of earlier ones; all of them or none.

    Parameters
    ----------
    campaign : Campaign
    folder : Path
    page : str, optional
        The page of the campaign, for campaign.html.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        They cannot be written.
    """
    whole = {
        "totals": campaign.totals,
        "runs": [asdict(run) for run in campaign.runs],
        "files": [asdict(file) for file in campaign.files],
        "without": [{"path": path, "why": why} for path, why in campaign.without],
    }
    texts = {
        folder / "campaign.json": json.dumps(whole, indent=2, ensure_ascii=False) + "\n",
        folder / "campaign_runs.csv": _csv(CampaignRun, [asdict(run) for run in campaign.runs]),
        folder / "campaign_files.csv": _csv(CampaignFile, [asdict(file) for file in campaign.files]),
    }
    if page is not None:
        texts[folder / "campaign.html"] = page
    write_texts(texts)
    return [*texts]


def _run(place: Path) -> tuple[CampaignRun, list[SourceFile]]:
    summary = read_summary(place)
    files = recall(place)
    sizes = [file.bytes for file in files]
    known = None not in sizes
    hits = Outputs.of(place.parent, place.name.removesuffix(SUMMARY_SUFFIX)).hits
    low, high = summary.hit_rate_interval or (None, None)
    index, resolution, segments = summary.index, summary.resolution_hits, summary.segments
    return CampaignRun(
        source=summary.source.path,
        summary=str(place),
        n_files=len(files),
        n_images=summary.n_images,
        n_hits=summary.n_hits,
        n_misses=summary.n_misses,
        n_unreadable=summary.n_unreadable,
        n_missing=summary.n_missing,
        hit_rate=summary.hit_rate,
        hit_rate_low=low,
        hit_rate_high=high,
        indexing_rate=index.indexing_rate if index else None,
        cell=index.cell.parameters if index else None,
        resolution=resolution.p50 if resolution else None,
        n_without_jet=segments.n_without_jet if segments else 0,
        files_without_jet=sum(file.jet == "stopped" for file in files),
        files_without_hits=sum(file.hits == 0 for file in files),
        source_bytes=sum(size or 0 for size in sizes) if known else summary.source_bytes,
        source_bytes_with_hits=sum(file.bytes or 0 for file in files if file.hits) if known else None,
        hit_bytes=hits.stat().st_size if hits.is_file() else 0,
    ), files


def _in_order(files: Sequence[tuple[str, SourceFile]]) -> Iterable[CampaignFile]:
    """Files with most hits a byte first; those of unknown size behind all others that hold hits."""

    def key(one: tuple[str, SourceFile]) -> tuple[bool, bool, float, str]:
        file = one[1]
        return (not file.hits, file.bytes is None, -file.hits / (file.bytes or 1), file.path)

    hits, size = 0, 0
    all_known = True
    for run, file in sorted(files, key=key):
        hits += file.hits
        size += file.bytes or 0
        all_known = all_known and file.bytes is not None
        yield CampaignFile(
            path=file.path,
            run=run,
            images=file.images,
            hits=file.hits,
            jet=file.jet,
            bytes=file.bytes,
            hits_so_far=hits,
            bytes_so_far=size if all_known else None,
        )


def _total(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _csv(kind: type[CampaignRun | CampaignFile], rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(kind)]
    writer.writerow(names)
    for row in rows:
        writer.writerow([_plain(row[name]) for name in names])
    return text.getvalue()


def _plain(value: object) -> object:
    """A cell as text that `--cell` takes."""
    return ",".join(f"{part:g}" for part in value) if isinstance(value, tuple | list) else value
