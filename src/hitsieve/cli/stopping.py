"""Ctrl-C, SIGTERM and SIGHUP: they stop the command at once, or else at the next step of its work.

An exception that a signal raises inside a weak reference's callback or a `__del__` is swallowed by the interpreter. The
request is therefore also remembered, and looked at between batches of images.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Event
    from types import FrameType

P = ParamSpec("P")


class Terminated(KeyboardInterrupt):
    """SIGTERM, or the terminal was closed; cleans up as Ctrl-C does."""


_asked: list[KeyboardInterrupt] = []


def listen() -> None:
    """Answer SIGTERM, and Ctrl-C and SIGHUP unless the caller has them ignored (as nohup does)."""
    _asked.clear()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _swallowed


def stoppable(show: Callable[P, None] | None) -> Callable[P, None]:
    """Wrap what is called between steps of the work, so that a swallowed request stops it there."""

    def step(*args: P.args, **kwargs: P.kwargs) -> None:
        if _asked:
            raise _asked[0]
        if show is not None:
            show(*args, **kwargs)

    return step


def say(text: str, where: TextIO) -> None:
    """Say something while work goes on: Ctrl-C ends tee before it ends us, and nobody may listen any more."""
    with suppress(OSError):
        print(text, file=where, flush=True)


@contextmanager
def stopped_once(first: str, second: str) -> Iterator[Event]:
    """Ctrl-C, SIGTERM and the end of the terminal ask for an end; a second one does not wait for it.

    Parameters
    ----------
    first, second : str
        What is said then.
    """
    from threading import Event

    stop = Event()

    def ask(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            say(f"hitsieve: error: {second}", sys.stderr)
            # Threads that wait for work to end would hold back any other way out.
            os._exit(128 + number)
        stop.set()
        say(first, sys.stderr)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _swallowed(lost: sys.UnraisableHookArgs) -> None:
    """Say nothing of a request that is remembered; report anything else."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    _asked.append(KeyboardInterrupt())
    raise _asked[-1]


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    _asked.append(Terminated(signal.Signals(signum).name))
    raise _asked[-1]
