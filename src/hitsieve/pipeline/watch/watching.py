"""The watcher: finds runs, waits until they are whole, and has them seen to; it does none of the work itself."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from hitsieve.errors import HitsieveError, SourceError
from hitsieve.pipeline.apart import Apart, Died
from hitsieve.pipeline.claim import claimed, lock_of
from hitsieve.pipeline.engine import check_engine
from hitsieve.pipeline.watch.events import Events
from hitsieve.pipeline.watch.finding import Finder, inside
from hitsieve.pipeline.watch.finished import Arrivals
from hitsieve.pipeline.watch.journal import Journal
from hitsieve.pipeline.watch.mending import judge
from hitsieve.pipeline.watch.processes import Processes
from hitsieve.pipeline.watch.rows import RunRow, Stamp, is_folder
from hitsieve.pipeline.watch.settings import BeamlineSettings, longest_silence
from hitsieve.pipeline.watch.telling import tell
from hitsieve.pipeline.watch.work import Job, Worked, work

_log = logging.getLogger(__name__)
STEP = 0.2
"""Time (s) between looks at what is due."""
BEAT = 10.0
"""Time (s) between signs of life in the journal."""
SHARE = 10.0
"""After a look at the whole tree, so many times as long as it took passes without another, but for a rescan."""
TURN = 2.0
"""Time (s) for which runs that are not whole are looked at before others have their turn."""
MOST_HINTS = 1000
"""Hints that wait to be taken; without those beyond, files are found by the next look at the whole tree."""
LEFT = (5.0, 60.0)
"""Shortest and longest time (s) after which a run that could not be begun is tried again; less, where what has failed
is tried sooner."""


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What is to be watched."""

    top: Path
    """The folder; absolute."""
    settings: BeamlineSettings
    journal: Path
    once: bool = False
    """End when nothing can be done now that is not waited for."""


def watch(request: WatchRequest, stop: Event, processes: Processes | None = None) -> list[RunRow]:
    """See to all runs below a folder until asked to stop; those that failed, are held or stuck at the end.

    Parameters
    ----------
    request : WatchRequest
    stop : Event
        When it is set, what is being done is left, or ended, and that is all.
    processes : Processes, optional
        Those that do the work, to be used again afterwards; by default they are begun here, and end here.

    Raises
    ------
    SourceError
        There is no such folder, and the journal knows none.
    OutputError
        The journal cannot be written.
    SettingsError
        The address of the writer makes no sense, or no graphics card can be used that is asked for.
    """
    check_engine(request.settings)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(request.journal))
        if not is_folder(request.top) and not journal.knows(request.top):
            raise SourceError(f"{request.top}: there is no such folder", mend="name the folder that runs appear in")
        if processes is None:
            processes = stack.enter_context(Processes(request.settings.watch.parallel))
        watcher = _Watcher(request, journal, processes)
        stack.enter_context(watcher.workers())
        stack.enter_context(watcher.listening())
        tell("READY=1")
        watcher.go(stop)
        tell("STOPPING=1")
        return journal.troubled(request.top)


def _sweep(folder: Path, stem: str) -> None:
    """Remove the lock of a run that is done, if whoever did it was killed before it could."""
    with suppress(HitsieveError, OSError):
        if lock_of(folder, stem).exists():
            with claimed(folder, stem):
                pass


class _Left(Exception):
    """Somebody has asked to stop on the way."""


class _Watcher:
    """Lives in one thread; others wait for the processes that do the work."""

    def __init__(self, request: WatchRequest, journal: Journal, processes: Processes) -> None:
        self._top, self._settings, self._journal = request.top, request.settings, journal
        self._place, self._once = request.journal, request.once
        chosen = request.settings.watch
        self._left = min(LEFT[0], chosen.retry_first), min(LEFT[1], chosen.retry_longest)
        self._finder = Finder(request.top, request.settings.watch.leave_out, processes.looking, self._step)
        self._arrivals = Arrivals(request.top, request.settings, self._finder)
        self._hints: SimpleQueue[list[str]] = SimpleQueue()
        self._started = time.time()
        self._beaten = 0.0
        self._scanned: tuple[float, float] | None = None
        self._to_look: deque[RunRow] = deque()
        self._looked = self._look_from = 0.0
        self._stop = Event()
        self._unread: str | None = None
        self._is_there = True
        self._in_work: dict[int, Future[Worked]] = {}
        self._not_before: dict[int, tuple[float, float]] = {}
        self._idle: SimpleQueue[Apart] = SimpleQueue()
        self._aparts = processes.working
        self._events: Events | None = None
        self._told: dict[int, str] = {}
        self._whole: dict[Path, str] = {}
        """Masters that the journal has as whole, by the identity that they have now; none of it ever changes there."""

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Threads that wait for the work; leaving has it stopped, or ended where it takes too long."""
        for apart in self._aparts:
            self._idle.put(apart)
        with ThreadPoolExecutor(len(self._aparts), "work") as self._pool:
            try:
                yield
            finally:
                self._end_work()
        with suppress(HitsieveError):
            self._journal.leave(self._top)

    def _end_work(self) -> None:
        until = time.monotonic() + self._settings.watch.stop_wait
        while any(not future.done() for future in self._in_work.values()):
            for apart in self._aparts:
                if time.monotonic() < until:
                    apart.ask_to_stop()
                else:
                    # Whatever it is at can be begun again.
                    apart.kill()
            time.sleep(STEP / 4)
        for apart in self._aparts:
            apart.take_back()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the system, and to the program that writes the files."""
        chosen = self._settings.watch
        with ExitStack() as stack:
            self._events = stack.enter_context(Events(self._top, lambda: self._hear([])))
            if chosen.notify is not None:
                from hitsieve.pipeline.watch.notices import Notices

                stack.enter_context(Notices(chosen.notify, chosen.notify_socket, self._hear))
            if chosen.metrics is not None:
                from hitsieve.pipeline.watch.metrics import Metrics

                stack.enter_context(Metrics(chosen.metrics, self._place, self._top))
            yield

    def go(self, stop: Event) -> None:
        """Watch until asked to stop."""
        self._stop = stop
        with suppress(_Left, HitsieveError):
            for place in self._journal.places_of_done(self._top):
                self._step()
                _sweep(*place)
        while not stop.is_set():
            for part in (self._beat, self._scan_if_due, self._look_at_arrivals, self._collect, self._give_out):
                try:
                    part()
                except _Left:
                    break
                except (HitsieveError, OSError) as error:
                    # The journal cannot be used for a while, as on a full disk: it would not know what is begun.
                    if self._once:
                        raise
                    _log.error("%s", error)
                    stop.wait(self._left[0])
                    break
            if self._once and self._is_done():
                break
            stop.wait(STEP)

    def _is_done(self) -> bool:
        if self._in_work or self._scanned is None:
            return False
        waiting = any(self._arrivals.may_come(row) for row in self._journal.open(self._top))
        return not waiting and not self._journal.due(self._top, time.time(), 1)

    def _step(self) -> None:
        self._beat()
        if self._stop.is_set():
            raise _Left

    def _beat(self) -> None:
        if time.monotonic() - self._beaten >= BEAT:
            self._beaten = time.monotonic()
            # A full disk is no reason to be ended.
            tell("WATCHDOG=1")
            if self._journal.reopen():
                _log.warning("%s: was taken away or replaced: what is there now is used", self._place)
                self._whole.clear()
            self._journal.beat(self._top, self._started)

    # What is there.

    def _scan_if_due(self) -> None:
        hinted = self._take_hints()
        was_there = self._is_there
        if not self._is_top_there():
            self._scanned = (time.monotonic(), time.monotonic())
            return
        now = time.monotonic()
        if self._scanned is not None and was_there:
            began, ended = self._scanned
            overdue = now - ended >= self._settings.watch.rescan
            if not overdue and (not hinted or now - ended < SHARE * (ended - began)):
                if hinted:
                    self._hints.put([])
                return
        if self._events is not None:
            # Before the look: what changes after it is told.
            self._events.listen()
        self._scan()
        self._scanned = (now, time.monotonic())

    def _hear(self, names: list[str]) -> None:
        if self._hints.qsize() < MOST_HINTS:
            self._hints.put(names)

    def _take_hints(self) -> bool:
        hinted = False
        # No more than are there now: others may come as fast as they are taken.
        for _ in range(self._hints.qsize()):
            hinted = True
            for name in self._hints.get():
                path = inside(name, self._top)
                if path is not None:
                    self._arrivals.told.add(path)
        return hinted

    def _is_top_there(self) -> bool:
        there = is_folder(self._top)
        if self._is_there and not there:
            _log.warning("%s: is not there; runs in it wait until it is back", self._top)
        elif there and not self._is_there:
            _log.warning("%s: is back", self._top)
            self._journal.wake(self._top)
        self._is_there = there
        return there

    def _scan(self) -> None:
        found = self._finder.find(self._meet)
        unread = found.bad.pop(self._top, None)
        if unread is not None and unread != self._unread:
            _log.warning("%s: %s; runs in it wait until it can be", self._top, unread)
        self._unread = unread
        if unread is not None:
            return
        self._take_in(found.masters, found.bad)
        here = {*found.masters, *found.bad}
        self._whole = {path: identity for path, identity in self._whole.items() if path in here}
        for row in self._journal.open(self._top):
            known_to_be_gone = row.path not in here and not any(folder in found.bad for folder in row.path.parents)
            if known_to_be_gone and is_folder(self._top):
                self._journal.forget(row)
        self._arrivals.keep(here)

    def _meet(self, masters: Mapping[Path, tuple[Path, ...]]) -> None:
        """See to the first runs while others are still looked for."""
        self._take_in(masters, {})
        for part in (self._look_at_arrivals, self._collect, self._give_out):
            part()

    def _take_in(self, masters: Mapping[Path, tuple[Path, ...]], bad: Mapping[Path, str]) -> None:
        self._arrivals.update(masters, bad)
        fresh = []
        for path in (*masters, *bad):
            stamp = Stamp.of(path)
            if stamp is None or self._whole.get(path) == stamp.identity:
                continue
            had = self._journal.identities(path)
            if stamp.identity in had:
                self._whole[path] = stamp.identity
            elif "" not in had:
                fresh.append(path)
        self._journal.see(self._top, *fresh)
        for path in fresh:
            _log.info("%s: found", path)

    def _look_at_arrivals(self) -> None:
        began = time.monotonic()
        if began < self._look_from:
            return
        if not self._to_look:
            self._looked = 0.0
            self._to_look.extend(self._journal.open(self._top))
        while self._to_look:
            row = self._to_look.popleft()
            if self._arrivals.look(self._journal, row):
                _log.info("%s: is whole", row.path)
            self._step()
            if time.monotonic() - began >= TURN:
                break
        ended = time.monotonic()
        self._looked += ended - began
        if not self._to_look:
            # Many runs that are not whole on a slow share must not take all of it.
            self._look_from = ended + min(SHARE * self._looked, self._settings.watch.rescan)

    # What is done.

    def _give_out(self) -> None:
        if len(self._in_work) >= len(self._aparts):
            return
        now = time.monotonic()
        most = len(self._in_work) + len(self._not_before) + len(self._aparts)
        for row in self._journal.due(self._top, time.time(), most):
            if row.key in self._in_work or self._not_before.get(row.key, (0.0, 0.0))[0] > now:
                continue
            if len(self._in_work) >= len(self._aparts):
                return
            job = Job(self._place, row.key, self._settings)
            longest = longest_silence(sum(stamp.size for stamp in row.files), self._settings)
            self._in_work[row.key] = self._pool.submit(self._worked, job, longest)

    def _worked(self, job: Job, longest: float) -> Worked:
        apart = self._idle.get()
        try:
            return apart.do(work, job, longest)
        finally:
            self._idle.put(apart)

    def _collect(self) -> None:
        for key, future in [(key, future) for key, future in self._in_work.items() if future.done()]:
            del self._in_work[key]
            try:
                worked = future.result()
            except Died as died:
                worked = self._has_died(key, died)
            if worked.what in ("claimed", "not begun"):
                _, delay = self._not_before.get(key, (0.0, self._left[0] / 2))
                delay = min(2 * delay, self._left[1])
                self._not_before[key] = (time.monotonic() + delay, delay)
                if worked.why:
                    _log.warning("%s", worked.why)
            else:
                self._not_before.pop(key, None)
            self._tell(key)

    def _has_died(self, key: int, died: Died) -> Worked:
        step = self._journal.died(key)
        row = self._journal.row(key)
        if row is None or step is None:
            if row is not None and row.next is None and row.folder is not None:
                _sweep(row.folder, row.stem)
            return Worked("seen to")
        if step.state != "running":
            # It had not begun, or between two steps.
            return Worked("not begun", f"{row.path}: {died}")
        outcome = judge(died, row, step, self._settings.watch)
        self._journal.fail(key, step.name, (outcome.said, outcome.mend), outcome.state, outcome.next_try)
        return Worked("seen to")

    def _tell(self, key: int) -> None:
        """One line for what became of a run, where that is something else than before."""
        row = self._journal.row(key)
        if row is None:
            return
        if row.state == "done":
            _log.info("%s: done: %s", row.path, row.step("run").said)
            self._told.pop(key, None)
        elif row.next is not None and row.next.state in ("failed", "held"):
            step = row.next
            text = f"{row.path}: {step.name} {step.state}: {step.said}" + (f" ({step.mend})" if step.mend else "")
            if self._told.get(key) != text:
                _log.warning("%s", text)
            self._told[key] = text
