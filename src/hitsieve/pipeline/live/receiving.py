"""Receives series from detectors until it is stopped."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event
from typing import Literal

from hitsieve._core import hold_memory
from hitsieve.errors import SettingsError, SourceError
from hitsieve.model import SeriesEnd, SeriesImage, SeriesKey, SeriesStart
from hitsieve.pipeline.apart import Apart
from hitsieve.pipeline.engine import check_engine
from hitsieve.pipeline.live.judging import Workers, sure
from hitsieve.pipeline.live.naming import Naming
from hitsieve.pipeline.live.parts import Parts
from hitsieve.pipeline.live.series import Means, Series
from hitsieve.pipeline.live.spool import check_folders, free_bytes, left_empty, sweep, tell_left
from hitsieve.pipeline.live.watching import Ended, Everyone, Load, Watcher
from hitsieve.pipeline.searcher import working
from hitsieve.settings import ClusterSettings, LiveSettings, RunSettings
from hitsieve.source.endpoints import Arrived, Endpoints

_log = logging.getLogger(__name__)
STEP = 0.1
"""Time (s) between looks at the clock."""
FLUSH = 2.0
"""Time (s) between moments from which on a crash of this program loses nothing."""
MOST_OPEN = 32
"""Series received at a time."""
REMEMBERED = 1000
"""Series that have ended, and of which late images are known as such."""
TOLD = 5
"""Messages of one kind that are logged one by one; of more, every thousandth."""
_NO_VETO = LiveSettings()
Refusal = Literal["bad", "late", "doubled"]


def receive(
    addresses: Sequence[str],
    settings: RunSettings,
    live: LiveSettings,
    *,
    watchers: Sequence[Watcher] = (),
    stop: Event | None = None,
    ready: Callable[[], None] | None = None,
) -> list[Ended]:
    """Receive series, judge their images as they come, and sieve each series when it has ended.

    Parameters
    ----------
    addresses : sequence of str
        Sockets of detectors (ZeroMQ PUSH), such as tcp://host:31001; several may share the images of a series.
    settings : RunSettings
        As for stored runs, but all misses are kept unless `write.misses` is set to something else, and nothing is ever
        replaced; `write.output` is the folder for the outputs.
    live : LiveSettings
    watchers : sequence of Watcher, optional
    stop : Event, optional
        When it is set, what was received is sieved, and that is all.
    ready : callable, optional
        Called once folders and addresses are known to be good, and series are waited for.

    Returns
    -------
    list of Ended
        The series, in the order in which they ended.

    Raises
    ------
    SettingsError
        An address makes no sense, or no graphics card can be used that is asked for.
    OutputError
        The folder cannot be written.
    """
    in_doubt = losing_nothing(settings) if live.veto != "off" else None
    hold_memory()
    settings = losing_nothing(settings, live)
    check_engine(settings)
    workers = settings.workers or len(os.sched_getaffinity(0))
    spool = live.spool or settings.write.output / "received"
    check_folders(settings.write.output, spool)
    sweep(spool)
    if not live.keep_received:
        tell_left(spool)
    with (
        Endpoints(addresses, live.buffer << 20) as endpoints,
        Apart() as apart,
        Parts() if live.parts else nullcontext() as parts,
        left_empty(spool if live.spool is None else None),
        working(workers) as pool,
        # Whoever ends a series waits for those who work on it.
        ThreadPoolExecutor(1, "finish") as finisher,
    ):
        apart.begin()
        everyone = Everyone(watchers)
        receiver = _Receiver(endpoints, finisher, live, everyone, Naming(settings.write.output, spool))
        told = Workers(pool, everyone.judged)
        receiver.means = Means(settings, spool, live.keep_received, in_doubt, told, apart, live.hung, parts)
        if ready is not None:
            ready()
        receiver.go(stop or Event())
        return [future.result() for future in receiver.finishing]


def losing_nothing(settings: RunSettings, live: LiveSettings = _NO_VETO) -> RunSettings:
    """Have all misses kept where nobody has said otherwise: of a stream there are no raw files that would hold them.

    Its images are searched as they come, here: no cluster is asked.

    Raises
    ------
    SettingsError
        Misses are to be dropped before they are written, and by these settings none is sure, or all are to be kept.
    """
    update: dict[str, object] = {"overwrite": False}
    said = "misses" in settings.write.model_fields_set
    if live.veto != "off":
        if live.parts:
            raise SettingsError(
                "--veto leaves no part of a series whole, as --parts needs", mend="leave out one of them"
            )
        if settings.verdict.min_spots is None or not sure(settings):
            what = "--veto drops images for good, and needs verdicts that nothing changes later"
            raise SettingsError(what, mend="give --min-spots, and --rule spots or --indexing off")
        if said and settings.write.misses == "keep":
            raise SettingsError("--veto drops misses and --misses keep keeps all", mend="leave out one of them")
        update["misses"] = "sample"
    elif not said:
        update["misses"] = "keep"
    write = settings.write.model_copy(update=update)
    return settings.model_copy(update={"write": write, "cluster": ClusterSettings()})


class _Receiver:
    """Gives each message to its series, and ends series; lives in one thread."""

    means: Means

    def __init__(
        self,
        endpoints: Endpoints,
        finisher: ThreadPoolExecutor,
        live: LiveSettings,
        everyone: Everyone,
        naming: Naming,
    ) -> None:
        self._endpoints, self._naming = endpoints, naming
        self._finisher = finisher
        self._live = live
        self._everyone = everyone
        self._open: dict[SeriesKey, Series] = {}
        self._over: OrderedDict[SeriesKey, None] = OrderedDict()
        self._busy: set[str] = set()
        """Names of series that are received or sieved; threads share it."""
        self._told: Counter[Refusal] = Counter()
        self.finishing: list[Future[Ended]] = []
        self._unfinished: list[Future[Ended]] = []

    def go(self, stop: Event) -> None:
        """Receive until it is stopped, or has received as many series as are wanted.

        Raises
        ------
        SourceError
            No more can be received.
        """
        try:
            self._receive(stop)
        finally:
            # Whatever ends it, what was received is sieved.
            self._endpoints.close()
            for series in list(self._open.values()):
                self._close(series, series.why or "receiving was stopped")

    def _receive(self, stop: Event) -> None:
        looked = flushed = time.monotonic()
        while not stop.is_set() and not 0 < self._live.series <= len(self.finishing):
            arrived = self._endpoints.take(STEP)
            if arrived is not None:
                self._take(arrived)
            for series in self._open.values():
                self._safely(series.name, series.settle)
            now = time.monotonic()
            if now - looked >= STEP:
                looked = now
                # Time has not passed for what is still waiting to be taken.
                self._close_due(now if arrived is None else arrived.at)
                self._tell_load()
            if now - flushed >= FLUSH:
                flushed = now
                for series in self._open.values():
                    self._safely(series.name, series.flush)
        self._endpoints.close()
        while stop.is_set() and (arrived := self._endpoints.take(0)) is not None:
            self._take(arrived)

    def _safely(self, where: str, step: Callable[[], None]) -> None:
        """Do something for a series; whatever is wrong with it, the others go on."""
        try:
            step()
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("%s: this went wrong", where, exc_info=True)
            self._refuse("bad", f"{where}: {type(error).__name__}: {error}")

    def _take(self, arrived: Arrived) -> None:
        self._safely(self._endpoints.addresses[arrived.endpoint], lambda: self._use(arrived))

    def _use(self, arrived: Arrived) -> None:
        message = arrived.message
        if isinstance(message, SourceError):
            self._refuse("bad", f"{self._endpoints.addresses[arrived.endpoint]}: {message}")
        elif isinstance(message, SeriesStart):
            self._begin(message, arrived)
        elif isinstance(message, SeriesImage):
            self._add(message, arrived)
        else:
            self._end(message, arrived)

    def _begin(self, start: SeriesStart, arrived: Arrived) -> None:
        series = self._open.get(start.key)
        if series is not None and arrived.endpoint in series.began_on:
            if start.key.unique:
                self._refuse("doubled", f"{series.name}: its start came again")
                return
            self._close(series, "a series of the same number began")
            series = None
        if series is None:
            again = start.key in self._over
            if again and start.key.unique:
                self._refuse("late", f"{start.key}: its start came through another socket after the end")
                return
            self._over.pop(start.key, None)
            series = self._new(start.key, start, arrived)
            series.again = again
        else:
            # Through each socket comes a start; one that was missed may come through another.
            series.adopt(start)
        series.began_on.add(arrived.endpoint)
        series.last = arrived.at
        for older in list(self._open.values()):
            if older is series:
                break
            self._left(older, arrived, "the next series began")

    def _new(self, key: SeriesKey, start: SeriesStart | None, arrived: Arrived) -> Series:
        if len(self._open) >= MOST_OPEN:
            self._close(min(self._open.values(), key=lambda series: series.last), "too many series had begun")
        name = self._naming.name(key)
        self._busy.add(name)
        series = Series(key, name, self.means, arrived.at, start)
        self._open[key] = series
        self._everyone.started(series.name, key, start.n_images if start else None)
        return series

    def _add(self, image: SeriesImage, arrived: Arrived) -> None:
        series = self._open.get(image.key)
        over = image.key in self._over if series is None else series.again and arrived.endpoint not in series.began_on
        if over:
            self._refuse("late", f"{image.key}: image {image.number} came after the end")
            return
        if series is None:
            series = self._new(image.key, None, arrived)
        series.last = arrived.at
        if why := series.takes(image.number):
            doubled = why.endswith("again")
            series.n_doubled += doubled
            self._refuse("doubled" if doubled else "bad", why)
            return
        self._everyone.arrived(arrived.size)
        series.add(image, arrived.at)
        if series.whole and series.end_came:
            self._close(series, series.why)

    def _end(self, end: SeriesEnd, arrived: Arrived) -> None:
        series = self._open.get(end.key)
        if series is None:
            return
        series.last = arrived.at
        series.end_came = True
        self._left(series, arrived, "its end came")

    def _left(self, series: Series, arrived: Arrived, why: str) -> None:
        """No more of a series comes through one socket; it ends when that is so of all, or soon."""
        series.left_on.add(arrived.endpoint)
        if series.closing is None:
            series.closing, series.why = arrived.at + self._live.end_wait, why
        if len(series.left_on) == len(self._endpoints.addresses) or (series.end_came and series.whole):
            self._close(series, series.why)

    def _close_due(self, now: float) -> None:
        for series in list(self._open.values()):
            if series.closing is not None and now >= series.closing:
                self._close(series, series.why)
            elif now - series.last >= self._live.idle:
                self._close(series, f"nothing came for {self._live.idle:g} s")

    def _close(self, series: Series, why: str) -> None:
        del self._open[series.key]
        series.why = why
        self._over[series.key] = None
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)
        self.finishing.append(self._finisher.submit(self._finish, series))
        self._unfinished.append(self.finishing[-1])

    def _finish(self, series: Series) -> Ended:
        try:
            ended = series.finish()
        except Exception as error:  # noqa: BLE001 - one series must not take the others with it
            _log.exception("%s: could not be ended", series.name)
            failed = f"{type(error).__name__}: {error}; what was received is in {self.means.spool / series.name}"
            ended = Ended(series.name, series.key, series.why, failed=failed)
        self._everyone.ended(ended)
        self._busy.discard(series.name)
        if ended.failed and not self._live.keep_received:
            tell_left(self.means.spool, self._busy.copy())
        return ended

    def _refuse(self, kind: Refusal, what: str) -> None:
        self._told[kind] += 1
        n = self._told[kind]
        if n <= TOLD or n % 1000 == 0:
            _log.warning("message not used (%s, the %d. of this kind): %s", kind, n, what)
        self._everyone.refused(kind, what)

    def _tell_load(self) -> None:
        waiting = sum(series.waiting for series in self._open.values())
        self._unfinished = [future for future in self._unfinished if not future.done()]
        finishing, free = len(self._unfinished), free_bytes(self.means.spool)
        load = Load(self._endpoints.held, waiting, len(self._open), finishing, free)
        self._everyone.load(load)
