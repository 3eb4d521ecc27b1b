"""Another process for work that may bring its process down; Ctrl-C and the like do not reach it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import wait as wait_for
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from hitsieve._core import hold_memory
from hitsieve.errors import HitsieveError
from hitsieve.model import Closing

if TYPE_CHECKING:
    from ctypes import c_byte, c_ulong
    from multiprocessing.process import BaseProcess

HELD_BACK = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
LOOK = 1.0
"""Time (s) between looks at whether the process that made this one lives, and at whether a job goes on."""
BEGIN = 300.0
"""Time (s) that a process may take to begin with its job: it imports first, from a share perhaps."""
SLOWEST = 1e9 / 60
"""Bytes a second that any work gets through, though it tells nothing meanwhile."""
GOES = 5.0
"""Time (s) within which a process that is ended goes, if it does at all: some shares hold it until they answer."""
NICE = 5
"""What comes in goes before what has come in."""
A = TypeVar("A")
R = TypeVar("R")


class Died(HitsieveError):
    """The other process has died at its work."""


class Hung(Died):
    """The other process has been ended, for its work did not go on."""


class Apart(Closing):
    """Another process, which does one thing after the other.

    It shares neither Python's lock with those who wait for it, nor their memory, nor, should it die, their end: the
    next thing is done by another one. It is begun when it is first needed, or by `begin`. Use it in a `with`
    statement; leaving waits for what it does.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        # A plain byte: no lock of it can be left behind by a process that is killed.
        self._asked: c_byte = get_context("spawn").RawValue("b", 0)
        self._steps: c_ulong = get_context("spawn").RawValue("L", 0)
        self._killed: float | None = None

    def begin(self) -> None:
        """Start the process; what it imports takes time, for which the first job then need not wait."""
        if self._pool is not None:
            return
        self._killed = None
        arguments = (os.getpid(), self._asked, self._steps)
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_settle, initargs=arguments)
        # A process inherits what its maker holds back: no moment is left in which a signal could end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            self._pool.submit(os.getpid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def do(self, job: Callable[[A], R], argument: A, longest: float | None = None) -> R:
        """Do something there, and wait for it.

        Parameters
        ----------
        job : callable
        argument : object
        longest : float, optional
            Time (s) after which the process is ended, from the begin of the job or from the last call of `goes_on` in
            it; by default it may take any time.

        Raises
        ------
        Died
            The process has died, or was ended.
        Hung
            It was, because nothing went on for so long.
        """
        self.begin()
        assert self._pool is not None  # noqa: S101 - it has begun
        try:
            # What is counted before the job is given can be no step of it.
            steps = self._steps.value
            return self._result(self._pool.submit(_busily, job, argument), steps, longest)
        except BrokenProcessPool:
            pool, self._pool = self._pool, None
            pool.shutdown()
            self.begin()
            raise Died("the process that did it has died, for want of memory perhaps") from None
        except Hung:
            # What waits for a share that does not answer may outlive even that: it is not waited for.
            self.kill()
            _ended[:] = [*filter(_is_there, _ended), *self._processes]
            pool, self._pool = self._pool, None
            pool.shutdown(wait=False)
            raise

    def _result(self, future: Future[R], steps: int, longest: float | None) -> R:
        since, begun = time.monotonic(), False
        while not wait((future,), LOOK if longest is None else min(longest, LOOK)).done:
            # First the time: what goes on from now on is none of what went before.
            now, so_far = time.monotonic(), self._steps.value
            if so_far != steps:
                steps, since, begun = so_far, now, True
            elif self._killed is not None and now - self._killed >= GOES:
                raise Hung("the process that did it was ended, and does not go")
            elif longest is not None and now - since >= (longest if begun else max(longest, BEGIN)):
                raise Hung(f"the process that did it was ended, for nothing went on in it for {longest:,.0f} s")
        return future.result()

    def ask_to_stop(self) -> None:
        """Ask what is done there to stop; work that looks at `is_asked_to_stop` does."""
        self._asked.value = 1

    def take_back(self) -> None:
        """Ask no more to stop."""
        self._asked.value = 0

    def kill(self) -> None:
        """End the process at once."""
        if self._killed is None:
            self._killed = time.monotonic()
        for process in self._processes:
            process.kill()

    @property
    def _processes(self) -> list[BaseProcess]:
        # It is not asked who it is: one that hangs while it begins would never answer.
        pool = self._pool
        return [*((pool and pool._processes) or {}).values()]

    def close(self) -> None:
        """End the process when it has done what it does."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


_ended: list[BaseProcess] = []
"""Those that were ended for they did not go on."""


def are_there_still() -> bool:
    """Whether processes that were ended have not gone: this one must end without waiting for them."""
    return any(_is_there(process, LOOK) for process in _ended)


def _is_there(process: BaseProcess, within: float = 0.0) -> bool:
    """Whether a process lives, and does not go within some time (s)."""
    return not wait_for([process.sentinel], within)


_busy = Lock()
_asked_here: Any = None
_steps_here: Any = None


def is_asked_to_stop() -> bool:
    """Whether the work of this process should stop; its maker asks so, or has died."""
    return _asked_here is not None and bool(_asked_here.value)


def goes_on() -> None:
    """Say that the work of this process goes on, so that it is not taken for hung."""
    if _steps_here is not None:
        _steps_here.value += 1


def _settle(parent: int, asked: c_byte, steps: c_ulong) -> None:
    """Begin in the other process."""
    global _asked_here, _steps_here  # one process, one maker
    _asked_here, _steps_here = asked, steps
    os.nice(NICE)
    hold_memory()
    Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: int) -> None:
    """End this process when the one that made it has died without a word, but end first what was begun."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    _asked_here.value = 1
    with _busy:
        os._exit(0)


def _busily(job: Callable[[A], R], argument: A) -> R:
    with _busy:
        goes_on()
        return job(argument)
