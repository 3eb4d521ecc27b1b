"""Who searches the images of a run: cores, graphics cards or a cluster; and what is kept of it on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import ModuleType

from hitsieve.errors import SettingsError
from hitsieve.model import Run
from hitsieve.pipeline.cards import refuse_without_card, scan_by_cores, scan_here
from hitsieve.pipeline.resuming import FoundStore, resumed
from hitsieve.pipeline.searcher import Scan
from hitsieve.settings import LOCAL, RunSettings
from hitsieve.spots import Finder


@contextmanager
def scanning(run: Run, finder: Finder, paths: Sequence[Path], settings: RunSettings, workers: int) -> Iterator[Scan]:
    """Give the scan that the settings ask for, for a `with` statement that ends well when the outputs are whole.

    Parameters
    ----------
    run : Run
    finder : Finder
    paths : sequence of Path
        What the run was opened from.
    settings : RunSettings
    workers : int
        Threads of this process.

    Raises
    ------
    SettingsError
        The cluster is not one that can be used here, or no card of this computer can be used that is asked for.
    ServerError
        The cluster does not answer.
    """
    chosen = settings.cluster
    is_elsewhere = searched_elsewhere(settings)
    # What a cluster does not answer for is little: the cores of this process see to it.
    here = scan_by_cores(finder, workers) if is_elsewhere else scan_here(run, finder, settings.engine, workers)
    store = None
    if chosen.resume:
        # Hidden, and named after the run: neither outputs nor in the way of any.
        store = FoundStore(settings.write.output / f".{run.stem}.found", run, settings.spots)
    elsewhere: AbstractContextManager[Scan | None] = nullcontext()
    if is_elsewhere:
        elsewhere = _cluster().searching_elsewhere(run, paths, settings, here)
    with elsewhere as scan:
        yield (scan or here) if store is None else resumed(scan or here, store)
    if store is not None:
        store.remove()


def check_engine(settings: RunSettings) -> None:
    """Refuse cards that are asked for and not there before runs come: it would show at the end of the first.

    Raises
    ------
    SettingsError
        Cards of this computer are asked for, and none can be used.
    """
    if settings.engine == "gpu" and not searched_elsewhere(settings):
        refuse_without_card()


def searched_elsewhere(settings: RunSettings) -> bool:
    """Whether a cluster searches."""
    return settings.cluster.scheduler is not None or settings.cluster.slurm


def check_cluster(settings: RunSettings) -> None:
    """Refuse a cluster that is asked for and not there, before work is done for it; one that is to be begun, is not.

    Raises
    ------
    SettingsError
        The cluster is not one that can be used here.
    ServerError
        Its scheduler does not answer, or no worker comes, or one has another version.
    """
    chosen = settings.cluster
    if chosen.scheduler is not None and (chosen.slurm or chosen.scheduler != LOCAL):
        with lasting(settings):
            pass


@contextmanager
def lasting(settings: RunSettings) -> Iterator[RunSettings]:
    """Give settings by which run after run is searched by one cluster, for a `with` statement at whose end it ends.

    Raises
    ------
    SettingsError
        The cluster is not one that can be used here.
    ServerError
        It cannot be begun.
    """
    if searched_elsewhere(settings):
        with _cluster().begun(settings) as joined:
            yield joined
    else:
        yield settings


def _cluster() -> ModuleType:
    try:
        from hitsieve.pipeline import cluster
    except ModuleNotFoundError as error:
        raise SettingsError(f"a cluster needs {error.name}", mend="pip install distributed dask-jobqueue") from None
    return cluster
