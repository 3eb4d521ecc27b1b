"""Sees who works in a Dask cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pkgutil import resolve_name
from urllib.parse import urlsplit

from distributed import Client, Future
from distributed import TimeoutError as Overdue

import hitsieve
from hitsieve.errors import NoClusterError, ServerError, SettingsError
from hitsieve.pipeline.cluster.starting import CONNECT, connected, told
from hitsieve.pipeline.cluster.worker import Found
from hitsieve.settings import RunSettings

PATIENT = 10.0
"""Time (s) after which a user is told what is waited for."""
_WAITS = "Slurm has the jobs (squeue), and this waits until one runs"
VERSION = "hitsieve:__version__"
"""Where a worker finds the version that it has."""
LOOK = 1.0
"""Time (s) between looks at who is there."""
_log = logging.getLogger(__name__)


@contextmanager
def joined(settings: RunSettings) -> Iterator[Members]:
    """Give those who work in the cluster that settings ask for, once there is one.

    Raises
    ------
    SettingsError
        The cluster is not one that can be made.
    ServerError
        The scheduler does not answer, or no worker comes.
    """
    chosen = settings.cluster
    if chosen.scheduler is not None and chosen.slurm:
        raise SettingsError("--scheduler and --slurm exclude each other", mend="give one")
    if not _log.isEnabledFor(logging.DEBUG):
        _quiet()
    with connected(chosen, settings.workers) as client:
        members = Members(client, chosen.wait)
        members.await_first(for_ever=chosen.slurm)
        yield members


def _quiet() -> None:
    """What Dask says of itself is not for a user; what goes wrong is told by errors."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("asyncio", "bokeh", "distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@dataclass(slots=True)
class Members:
    """Who works in the cluster."""

    client: Client
    wait: float
    """Longest time (s) without any worker."""
    threads: int = 0
    blind: set[str] = field(default_factory=set)
    """Computers whose workers cannot read what can be read here."""
    _looked: float = 0.0
    _seen: float = 0.0
    _told: set[tuple[str, str]] = field(default_factory=set)

    def tell(self, found: Found) -> None:
        """Say once what of a computer searches, and why a card of it no longer does."""
        said = [(logging.INFO, "a worker on %s searches on %s", found.who)]
        what = "a graphics card of %s is used no more, and the compiled finder goes on in its place: %s"
        said += [(logging.WARNING, what, why) for why in found.failures]
        for level, form, words in said:
            if (found.where, words) not in self._told:
                self._told.add((found.where, words))
                _log.log(level, form, found.where, words)

    def await_first(self, *, for_ever: bool) -> None:
        """Wait until there is a worker; jobs may have to queue for long."""
        began = self._seen = time.monotonic()
        is_told = False
        while not self.look():
            time.sleep(0.05)
            if not is_told and time.monotonic() - began > PATIENT:
                is_told = True
                _log.warning("no worker yet: %s; Ctrl-C stops it", _WAITS if for_ever else f"waiting {self.wait:g} s")
            if for_ever:
                self._seen = time.monotonic()

    def check_versions(self) -> None:
        """Refuse workers of another version: one run after the other would fail by them.

        Raises
        ------
        ServerError
        """
        own = hitsieve.__version__
        try:
            asked = {
                where: self.client.submit(resolve_name, VERSION, workers=[where], pure=False, priority=1)
                for where in self._threads()
            }
            end = time.monotonic() + CONNECT
            says = {where: _version(future, own, end - time.monotonic()) for where, future in asked.items()}
        except (OSError, Overdue, RuntimeError) as error:
            raise gone(error) from None
        others = [f"the worker on {urlsplit(where).hostname} has {has}" for where, has in says.items() if has]
        if others:
            many = "" if len(others) == 1 else f" ({len(others)} of {len(says)} workers have another version)"
            raise ServerError(f"{others[0]}{many}, and this is {own}", mend="install the same version everywhere")

    def _threads(self) -> dict[str, int]:
        """Threads of each worker, by its address."""
        found: dict[str, int] = self.client.sync(self.client.scheduler.ncores, workers=None, callback_timeout=self.wait)
        return found

    def look(self) -> int:
        """Count the threads of all workers, not more often than is needed.

        Raises
        ------
        NoClusterError
            There has been none for too long, or the scheduler has gone.
        """
        now = time.monotonic()
        if self.threads and now - self._looked < LOOK:
            return self.threads
        try:
            self.threads = sum(self._threads().values())
        except (OSError, Overdue, RuntimeError) as error:
            raise gone(error) from None
        self._looked = now
        if self.threads:
            self._seen = now
        elif now - self._seen > self.wait:
            what = f"{self.client.scheduler.address}: no worker for {self.wait:g} s"
            raise NoClusterError(what, mend="start workers (dask worker), or see why those that were there went away")
        return self.threads


def _version(future: Future, own: str, seconds: float) -> str:
    """What a worker has in place of our own version; empty where it has that, or does not say in time.

    Whoever is busy, or hangs, is asked again with the first images that it gets.
    """
    with suppress(Overdue):
        error = future.exception(timeout=max(seconds, 0.001))
        if isinstance(error, ImportError | AttributeError):
            return "no hitsieve"
        if future.status == "finished" and (has := future.result(timeout=CONNECT)) != own:
            return f"hitsieve {has}"
    return ""


def gone(error: BaseException) -> NoClusterError:
    """What to say where the scheduler does not answer any more."""
    what = f"the scheduler has gone: {told(error)}"
    return NoClusterError(what, mend="start it and its workers again; with --resume the run goes on where it was")
