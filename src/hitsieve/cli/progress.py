"""Progress on stderr: a bar on a terminal, else a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from hitsieve.pipeline import Progress

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_LOOKS = 2.0


@contextmanager
def shown(*, wanted: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give the function to call with each state of progress, or None when none is wanted."""
    if not wanted:
        yield None
    elif sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _Lines()


@contextmanager
def shown_count(what: str, *, wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give the function to call with the number done and the total; shows on a terminal only."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    with _bars() as bars:
        task = bars.add_task("", total=None, says=what)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def shown_items(what: str, *, wanted: bool) -> Iterator[Callable[[int, int | None, str], None]]:
    """Give the function to call with the number done, the total where it is known, and what else is to be said.

    On a terminal it shows a bar, else a line now and then, with the time that is left by the rate of late.
    """
    clock = _Clock()
    if not wanted:
        yield lambda done, total, says: None
    elif sys.stderr.isatty():
        with _bars() as bars:
            task = bars.add_task("", total=None, says=what)

            def update(done: int, total: int | None, says: str) -> None:
                bars.update(task, completed=done, total=total, says=f"{what}, {says}{clock.left(done, total)}")

            yield update
    else:
        yield clock.printing(what)


class _Clock:
    """Tells the time that is left of many things, by the rate of late: what is known already takes no time."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque(maxlen=30)
        """Times, two seconds apart at least, and what was done by then."""
        self._last = time.monotonic()

    def left(self, done: int, total: int | None) -> str:
        """Say how long it will take, once that can be told."""
        if total is None:
            return ""
        now = time.monotonic()
        if not self._seen or now - self._seen[-1][0] >= SECONDS_BETWEEN_LOOKS:
            self._seen.append((now, done))
        since, first = self._seen[0]
        if done == first or done >= total:
            return ""
        seconds = int((now - since) * (total - done) / (done - first))
        return f", {seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"

    def printing(self, what: str) -> Callable[[int, int | None, str], None]:
        """Print a line at most every ten seconds."""

        def update(done: int, total: int | None, says: str) -> None:
            left, now = self.left(done, total), time.monotonic()
            if now - self._last < SECONDS_BETWEEN_LINES:
                return
            self._last = now
            of = "" if total is None else f" of {total:,}"
            print(f"{what}: {done:,}{of}, {says}{left}", file=sys.stderr, flush=True)

        return update


def describe(progress: Progress) -> str:
    """Images a second and the hit rate so far."""
    rate = progress.done / progress.seconds if progress.seconds > 0 else 0.0
    return f"{per_second(rate)}, hit rate {hit_rate(progress)}"


def per_second(rate: float) -> str:
    """Images a second; slow ones with a fraction, for none are searched at 0 images/s."""
    return f"{rate:,.0f} images/s" if rate >= 10 or not rate else f"{rate:.2g} images/s"


def hit_rate(progress: Progress) -> str:
    """Hit rate so far, of the images that could be searched."""
    searched = progress.hits + progress.misses
    return f"{100 * progress.hits / searched:.2f} %" if searched else "-"


def _left(progress: Progress) -> str:
    seconds = progress.seconds * (progress.total - progress.done) / progress.done if progress.done else 0.0
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} left"


class _Lines:
    """Prints a line at most every ten seconds, and one at the end."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        ended = progress.done >= progress.total
        if not ended and progress.seconds - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = progress.seconds
        rest = "" if ended else f", {_left(progress)}"
        print(f"{progress.done:,} of {progress.total:,} images, {describe(progress)}{rest}", file=sys.stderr)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    with _bars() as bars:
        task = bars.add_task("", total=None, says="opening")

        def update(progress: Progress) -> None:
            says = f"{describe(progress)}, {_left(progress)}"
            bars.update(task, completed=progress.done, total=progress.total, says=says)

        yield update


def _bars() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[says]}"))
    return RichProgress(*columns, console=Console(stderr=True), transient=True)
