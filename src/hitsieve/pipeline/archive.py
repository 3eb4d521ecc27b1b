"""Sieves whole archives: each run that has no results yet, one after the other, however often the work is cut off.

What is done is told by the outputs, which appear whole, and by the catalogue; there is no other journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hitsieve.catalogue import Catalogue
from hitsieve.errors import HitsieveError, NoClusterError, ServerError, SettingsError, SourceError
from hitsieve.pipeline.claim import claimed, finished, lock_of
from hitsieve.pipeline.engine import check_engine, lasting
from hitsieve.pipeline.register import known_record
from hitsieve.pipeline.run import run
from hitsieve.settings import CatalogueSettings, RunSettings
from hitsieve.source import Master, find_masters, stem_of
from hitsieve.write import Outputs, Summary, read_summary, remove_leftovers

TRIES = 3
"""How often a run is begun whose cluster goes away: it may be this run that ends it."""
PAUSES = (1.0, 60.0)
"""First and longest time (s) between looks for a cluster; each is twice as long as the one before."""
LOOK = 0.25
"""Time (s) between calls while it is waited."""
_log = logging.getLogger(__name__)
What = Literal["sieved", "entered", "known", "claimed", "failed"]


@dataclass(frozen=True, slots=True)
class Scanned:
    """What became of one run of the archive."""

    path: Path
    what: What
    """sieved: it was searched now; entered: it had been, and was in no catalogue; known: nothing was to do; claimed:
    another scan is at it."""
    why: str = ""
    n_images: int = 0
    n_hits: int = 0
    results: Path | None = None
    """Summary of the run; None where there is none."""


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What is to be scanned, and where results go."""

    folders: tuple[Path, ...]
    output: Path
    """Folder for the outputs, which lie in it as the runs do in the archive."""
    settings: RunSettings
    catalogue: Path


@dataclass(frozen=True, slots=True)
class ScanSteps:
    """What is called on the way."""

    looking: Callable[[int], None]
    """With the number of files looked at, before the first run is sieved."""
    found: Callable[[int], None]
    """With the number of runs, once all are found."""
    done: Callable[[int, int, Scanned], None]
    """After each run, with the number done and of all."""
    working: Callable[..., None]
    """With the progress of a run, after every batch of images."""
    waiting: Callable[[], None] = lambda: None
    """Now and then while a cluster that has gone is waited for."""


def scan(request: ScanRequest, steps: ScanSteps) -> list[Scanned]:
    """Find all runs below some folders, sieve those that have no results, and enter all into the catalogue.

    A run that fails is remembered and does not stop the others. A run has results where the catalogue knows a summary
    of it that is still there, or where its outputs lie in the output folder, unless its files changed since.

    Parameters
    ----------
    request : ScanRequest
    steps : ScanSteps

    Raises
    ------
    SourceError
        A folder does not exist.
    OutputError
        The catalogue cannot be written.
    SettingsError, ServerError
        The cluster that the settings ask for cannot be begun, or no graphics card can be used that is asked for.
    """
    check_engine(request.settings)
    results: list[Scanned] = []
    masters = runs_in(request, lambda path, why: results.append(Scanned(path, "failed", why)), steps.looking)
    steps.found(len(masters))
    with ExitStack() as stack:
        scanner = _Scanner(request, steps, stack)
        for n, master in enumerate(masters, start=1):
            results.append(scanner.one(master))
            steps.done(n, len(masters), results[-1])
    return results


def runs_in(
    request: ScanRequest, bad: Callable[[Path, str], None], looking: Callable[[int], None] | None = None
) -> list[Master]:
    """Find all runs of an archive; files and folders that cannot be read are told to `bad`, with the reason.

    Raises
    ------
    SourceError
        A folder does not exist.
    """
    for folder in request.folders:
        if not folder.is_dir():
            raise SourceError(f"{folder}: there is no such folder", mend="name the folder of the archive")
    return find_masters(request.folders, [request.output], bad=bad, step=looking)


def results_of(master: Master, request: ScanRequest, known: Mapping[str, Sequence[str]]) -> Path | None:
    """Summary of a run's results: one that the catalogue knows, or that is in the output folder; None without.

    Parameters
    ----------
    master : Master
    request : ScanRequest
    known : mapping of str to sequence of str
        Places of summaries by source, as the catalogue has them.
    """
    for place in known.get(str(master.path.resolve()), ()):
        with suppress(SourceError):
            if _is_of(read_summary(Path(place)), master):
                return Path(place)
    outputs = _outputs(master, request)
    before = finished(outputs)
    mine = before is not None and before.source.path == str(master.path.resolve()) and _is_of(before, master)
    return outputs.summary if mine else None


class _Scanner:
    """Sieves runs of one archive."""

    def __init__(self, request: ScanRequest, steps: ScanSteps, stack: ExitStack) -> None:
        self._request, self._steps, self._stack = request, steps, stack
        self._settings: RunSettings | None = None
        self._begun = False
        self._cannot: HitsieveError | None = None
        """Why no cluster can be begun."""
        with Catalogue(request.catalogue, create=True) as catalogue:
            self._known = catalogue.places_by_source()

    def one(self, master: Master) -> Scanned:
        """See to one run.

        Raises
        ------
        SettingsError, ServerError
            The cluster that the settings ask for cannot be begun for the first run that needs it.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return self._known_already(master) or self._seen_to(master)
            except NoClusterError as error:
                if error is self._cannot or tries >= TRIES:
                    return self._failed(master, error)
                self._await_cluster(error)
            except HitsieveError as error:
                return self._failed(master, error)
            except Exception as error:  # noqa: BLE001 - one bad run of thousands does not stop the others
                return Scanned(master.path, "failed", f"internal error: {type(error).__name__}: {error}")

    def _failed(self, master: Master, error: HitsieveError) -> Scanned:
        if error is self._cannot and not self._begun:
            raise error
        if isinstance(error, ServerError):
            # The cluster is of no use: the next run begins another one.
            self._leave()
        return Scanned(master.path, "failed", str(error))

    def _leave(self) -> None:
        """Leave the cluster."""
        self._stack.close()
        self._settings = None

    def _await_cluster(self, why: NoClusterError) -> None:
        """Wait for a cluster in place of one that has gone; where none comes in time, that is why others fail."""
        self._leave()
        patience = self._request.settings.cluster.patience
        end, pause = time.monotonic() + patience, PAUSES[0]
        while True:
            try:
                self._begin()
            except NoClusterError as error:
                left = end - time.monotonic()
                if left <= 0:
                    self._cannot = error
                    return
                if pause == PAUSES[0]:
                    _log.warning("%s; it is waited for, up to %g s: Ctrl-C stops that", why.what, patience)
                self._rest(min(pause, left))
                pause = min(2 * pause, PAUSES[1])
            except (SettingsError, ServerError) as error:
                self._cannot = error
                return
            else:
                if pause != PAUSES[0]:
                    _log.warning("there is a cluster again, and the scan goes on")
                return

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._steps.waiting()
            time.sleep(min(LOOK, left))

    def _known_already(self, master: Master) -> Scanned | None:
        for place in self._known.get(str(master.path.resolve()), ()):
            with suppress(SourceError):
                summary = read_summary(Path(place))
                if _is_of(summary, master):
                    self._tidy(master)
                    return _told(master, "known", summary, Path(place))
        return None

    def _tidy(self, master: Master) -> None:
        """Remove what a scan left that was killed when the run was all but done."""
        outputs = _outputs(master, self._request)
        folder, stem = outputs.summary.parent, stem_of([master.path])
        if lock_of(folder, stem).exists():
            with claimed(folder, stem) as mine:
                if mine:
                    remove_leftovers(outputs)

    def _seen_to(self, master: Master) -> Scanned:
        outputs = _outputs(master, self._request)
        folder = outputs.summary.parent
        with claimed(folder, stem_of([master.path])) as mine:
            if not mine:
                return Scanned(master.path, "claimed", "another scan is at it")
            before = finished(outputs)
            if before is not None and before.source.path != str(master.path.resolve()):
                what = f"{outputs.summary}: is of another run with the same name ({before.source.path})"
                raise SourceError(what, mend="sieve it with hitsieve run, into another folder")
            if before is not None and _is_of(before, master):
                with Catalogue(self._request.catalogue, create=True) as catalogue:
                    catalogue.add(known_record(outputs, before))
                return _told(master, "entered", before, outputs.summary)
            remove_leftovers(outputs)
            return self._sieved(master, folder, overwrite=before is not None)

    def _sieved(self, master: Master, folder: Path, *, overwrite: bool) -> Scanned:
        chosen = self._chosen()
        write = chosen.write.model_copy(update={"output": folder, "overwrite": overwrite or chosen.write.overwrite})
        catalogue = CatalogueSettings(catalogue=self._request.catalogue)
        settings = chosen.model_copy(update={"write": write, "catalogue": catalogue})
        report = run([master.path], settings, progress=self._steps.working)
        return _told(master, "sieved", report.summary, report.outputs.summary)

    def _chosen(self) -> RunSettings:
        """Settings of all runs, once the cluster that they ask for is there."""
        if self._cannot is not None:
            raise self._cannot
        if self._settings is None:
            try:
                return self._begin()
            except NoClusterError as error:
                if not self._begun:
                    self._cannot = error
                raise
            except (SettingsError, ServerError) as error:
                # It is not tried again, run after run.
                self._cannot = error
                raise
        return self._settings

    def _begin(self) -> RunSettings:
        self._settings = self._stack.enter_context(lasting(self._request.settings))
        self._begun = True
        return self._settings


def _outputs(master: Master, request: ScanRequest) -> Outputs:
    """Outputs of a run: they lie as it does in the archive; of several archives, below the name of each."""
    folder = request.output
    for top in request.folders:
        if top.absolute() in master.path.parents:
            inside = master.path.parent.relative_to(top.absolute())
            folder = request.output / top.absolute().name / inside if len(request.folders) > 1 else folder / inside
            break
    return Outputs.of(folder, stem_of([master.path]), misses=request.settings.write.misses == "keep")


def _is_of(summary: Summary, master: Master) -> bool:
    """Whether the files of a run were as they are when it began to be sieved: one may have come while it was."""
    return summary.date.timestamp() - summary.seconds >= master.modified


def _told(master: Master, what: What, summary: Summary, results: Path) -> Scanned:
    return Scanned(master.path, what, "", summary.n_images, summary.n_hits, results.absolute())
