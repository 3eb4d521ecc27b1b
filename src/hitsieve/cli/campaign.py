"""`hitsieve campaign`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from hitsieve.cli.cluster import ClusterFlags
from hitsieve.cli.config import read_settings
from hitsieve.cli.options import CLUSTER, AsJson, Messages, Switch, Whole
from hitsieve.cli.progress import shown_count, shown_items
from hitsieve.cli.scan import counted, named, scan_shown
from hitsieve.cli.screen import number_of, size_of
from hitsieve.cli.stopping import stoppable
from hitsieve.errors import SourceError

if TYPE_CHECKING:
    from hitsieve.pipeline.archive import ScanRequest
    from hitsieve.pipeline.campaign import Campaign, Cost

SHOWN = 20
"""Runs that are listed; all are in the files."""
SHARE = 0.9
"""Share of all hits that is worth a line."""


def campaign(
    folders: tuple[Path, ...],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    estimate: Switch = False,
    bandwidth: Annotated[float, Parameter(validator=Number(gt=0))] = 100.0,
    config: Path | None = None,
    workers: Whole | None = None,
    catalogue: Path | None = None,
    json: AsJson = False,
    cluster: Annotated[ClusterFlags, Parameter(name="*", group=CLUSTER)] = ClusterFlags(),  # noqa: B008 - frozen
    messages: Messages = Messages(),  # noqa: B008
) -> int:
    """Sieve whole archives, and say which runs and files hold the hits, and what is saved.

    It finds the runs in the folders, or below, sieves each that has no results yet, and leaves an overview of all in
    the output folder: campaign.html, campaign.json, campaign_runs.csv and campaign_files.csv. When it is stopped, or
    killed, the same command goes on where it was; several at a time, on several computers, share the work. A run that
    fails is told and does not stop the others; the exit code is 3 then.

    Parameters
    ----------
    folders
        Archives.
    output
        Folder for the overview, and for the outputs of the runs, which lie in it as the runs do in the archive.
    estimate
        Sieve nothing: count images and bytes, search some images, and say how long it will take.
    bandwidth
        Rate (Mbit/s) of the network by which download times are told.
    config
        TOML file with settings of hitsieve run.
    workers
        Worker threads; 0: one a core.
    catalogue
        File of the catalogue; by default what HITSIEVE_CATALOGUE names, else that of the user.
    json
        Print the overview, or the estimate, as JSON on stdout, and nothing else there.
    """
    messages.set_up_logging()
    from hitsieve.catalogue import default_catalogue
    from hitsieve.pipeline.archive import ScanRequest

    settings = read_settings(config, {"cluster": cluster}, workers)
    request = ScanRequest(folders, output, settings, catalogue or default_catalogue())
    quiet = json or messages.quiet
    if estimate:
        return _estimate(request, quiet=quiet, json=json)
    return _sieve(request, bandwidth, quiet=quiet, json=json)


def _estimate(request: ScanRequest, *, quiet: bool, json: bool) -> int:
    from hitsieve.pipeline.campaign import cost_of

    with shown_items("runs", wanted=not quiet) as show:
        cost = cost_of(
            request,
            step=stoppable(lambda n, total: show(n, total, "opened")),
            looking=stoppable(lambda n: show(0, None, f"{number_of(n, 'file')} looked at")),
        )
    if not (cost.n_runs or cost.n_done or cost.bad):
        raise _nothing(request)
    if json:
        import json as encoder
        from dataclasses import asdict

        print(encoder.dumps(asdict(cost), indent=2, default=str))
    elif not quiet:
        _print_cost(cost)
    return SourceError.exit_code if cost.bad else 0


def _print_cost(cost: Cost) -> None:
    for path, why in cost.bad:
        print(f"failed  {named(path, why)}")
    has = "has" if cost.n_done == 1 else "have"
    done = f"; {number_of(cost.n_done, 'run')} {has} results already" if cost.n_done else ""
    held = f"{number_of(cost.n_files, 'file')}, {number_of(cost.n_images, 'image')}"
    print(f"{number_of(cost.n_runs, 'run')} to sieve, {held}{done}")
    if cost.bytes:
        print(f"{size_of(cost.bytes)} of images are read")
    if cost.seconds is not None and cost.images_per_second is not None:
        rate = f"{cost.images_per_second:,.0f} images/s, by {number_of(cost.n_tried, 'image')} searched for it"
        print(f"about {duration(cost.seconds)} at {rate}; writing hits and tables comes on top")
    elif cost.n_runs:
        print("how long it takes cannot be told: no image could be searched")


def _sieve(request: ScanRequest, bandwidth: float, *, quiet: bool, json: bool) -> int:
    from hitsieve.pipeline.campaign import look_at, write_campaign

    scanned = scan_shown(request, quiet=quiet)
    if not scanned:
        raise _nothing(request)
    with shown_count("reading results", wanted=not quiet) as show:
        n = len(scanned)
        found = look_at(scanned, step=stoppable(None if show is None else lambda done: show(done, n)))
    written = write_campaign(found, request.output, _page(found, bandwidth))
    if json:
        print(written[0].read_text(encoding="utf-8"), end="")
    elif not quiet:
        _print(found, bandwidth)
        print(f"\n{counted(Counter(one.what for one in scanned))}")
        for path in written:
            print(path)
    failed = [one for one in scanned if one.what == "failed"]
    for one in failed if quiet else ():
        print(f"hitsieve: warning: {one.path}: {one.why}", file=sys.stderr)
    return SourceError.exit_code if failed else 0


def _nothing(request: ScanRequest) -> SourceError:
    """What to say of folders without runs."""
    folders = ", ".join(map(str, request.folders))
    mend = "name folders that hold master files, or hold folders with them; images of other formats: hitsieve run"
    return SourceError(f"{folders}: no run is in it", mend=mend)


def _page(found: Campaign, bandwidth: float) -> str | None:
    try:
        from hitsieve.serve.campaign import campaign_page
    except ModuleNotFoundError as error:
        print(f"hitsieve: no campaign.html: it needs {error.name} (pip install fastapi jinja2)", file=sys.stderr)
        return None
    return campaign_page(found, told(found, bandwidth))


def _print(found: Campaign, bandwidth: float) -> None:
    for path, why in found.without:
        print(f"no results  {named(path, why)}")
    print(f"{'hit rate':>9}{'hits':>11}{'images':>12}{'size':>10}{'hits only':>10}  run")
    for run in found.runs[:SHOWN]:
        rate = "-" if run.hit_rate is None else f"{100 * run.hit_rate:.2f} %"
        sizes = f"{_size(run.source_bytes):>10}{size_of(run.hit_bytes):>10}"
        print(f"{rate:>9}{run.n_hits:>11,}{run.n_images:>12,}{sizes}  {run.source}")
    if len(found.runs) > SHOWN:
        print(f"... and {len(found.runs) - SHOWN:,} with lower hit rates")
    for line in told(found, bandwidth):
        print(line)


def told(found: Campaign, bandwidth: float) -> list[str]:
    """What an archive comes to, in sentences."""
    totals = found.totals
    images, hits, files = (totals[name] or 0 for name in ("n_images", "n_hits", "n_files"))
    of = f"{number_of(images, 'image')} of {number_of(totals['n_runs'] or 0, 'run')}, in {number_of(files, 'file')}"
    lines = [f"{number_of(hits, 'hit')} among {of}"]
    if shared := totals["n_shared_files"]:
        are, whose = ("is", "its") if shared == 1 else ("are", "their")
        lines.append(f"{number_of(shared, 'file')} {are} shown by several runs: {whose} images are counted in each")
    if lost := (totals["n_missing"] or 0) + (totals["n_unreadable"] or 0):
        runs = sum(run.n_missing + run.n_unreadable > 0 for run in found.runs)
        are = "is" if lost == 1 else "are"
        lines.append(f"{number_of(lost, 'image')} of {number_of(runs, 'run')} {are} missing or unreadable")
    if stopped := totals["files_without_jet"]:
        lines.append(f"in {number_of(stopped, 'file')} the jet never ran")
    whole, kept = totals["source_bytes"], totals["hit_bytes"] or 0
    if whole:
        times = " and ".join(duration(size * 8 / (bandwidth * 1e6)) for size in (whole, kept))
        sizes = f"all images take {size_of(whole)}, the hits alone {size_of(kept)}"
        lines.append(f"{sizes}: {times} to download at {bandwidth:g} Mbit/s")
    enough = next((n for n, file in enumerate(found.files, start=1) if file.hits_so_far >= SHARE * hits), 0)
    if hits and enough:
        size = found.files[enough - 1].bytes_so_far
        lines.append(
            f"{100 * SHARE:g} % of the hits are in {enough:,} of {number_of(len(found.files), 'file')}"
            + ("" if size is None else f" ({size_of(size)})")
            + ": the first of campaign_files.csv"
        )
    return lines


def _size(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else size_of(n_bytes)


def duration(seconds: float) -> str:
    """Say a time in the unit that suits it."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
