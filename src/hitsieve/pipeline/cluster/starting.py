"""Joins the cluster that settings name, or starts one."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster, Security
from distributed.comm import connect
from distributed.utils import LoopRunner

from hitsieve.errors import NoClusterError, SettingsError
from hitsieve.settings import LOCAL, ClusterSettings, SlurmSettings

CONNECT = 20.0
"""Time (s) to wait for a scheduler, and for workers to say what they are."""
UNDISTURBED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What workers on this computer begin with: Ctrl-C reaches them as well, but it is this process that stops them."""
CALM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
"""Settings of Dask by which it watches itself less: as it comes, each of its processes takes 2 to 4 % of a core."""


@contextmanager
def connected(chosen: ClusterSettings, workers: int) -> Iterator[Client]:
    """Give a client of the cluster that settings ask for; what is started for it ends with it.

    Parameters
    ----------
    chosen : ClusterSettings
    workers : int
        Processes of a cluster of this computer; 0: one a core.

    Raises
    ------
    SettingsError
        The cluster is not one that can be made.
    NoClusterError
        The scheduler does not answer, or Slurm takes no jobs.
    """
    with ExitStack() as stack:
        # Whatever is started looks at these once, when it starts.
        with dask.config.set(CALM):
            client = stack.enter_context(_client(chosen, workers, stack))
        yield client


def local(workers: int) -> LocalCluster:
    """Start a scheduler and workers of one thread each on this computer; 0: one a core."""
    with dask.config.set(CALM):
        # Dask serves a page about itself: to this computer alone, and in nobody's way.
        return LocalCluster(
            n_workers=workers or None,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            preload=UNDISTURBED,
        )


def _client(chosen: ClusterSettings, workers: int, stack: ExitStack) -> Client:
    if chosen.slurm:
        return Client(stack.enter_context(_slurm(chosen.jobs)), set_as_default=False)
    if chosen.scheduler == LOCAL:
        return Client(stack.enter_context(local(workers)), set_as_default=False)
    address = chosen.scheduler or ""
    parts = urlsplit(address)
    try:
        known = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        known = None
    if not known:
        raise SettingsError(f"{address!r} is no address of a Dask scheduler", mend="name it as tcp://host:8786")
    try:
        # Where nobody listens the client would try for long, and then wait for itself.
        socket.create_connection((parts.hostname, parts.port), timeout=CONNECT).close()
        # The thread of the caller may have a loop already, as in a notebook.
        LoopRunner().run_sync(_greeted, address)
        return Client(address, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # noqa: BLE001 - whoever listens there may be no scheduler, and say anything
        what = f"{address}: no Dask scheduler answers: {told(error)}"
        raise NoClusterError(what, mend="start one (dask scheduler), or name its address, as tcp://host:8786") from None


async def _greeted(address: str) -> None:
    """Shake hands, and go: the client itself would wait for ever for one who takes the call and says nothing."""
    try:
        greeting = connect(address, **Security().get_connection_args("client"))
        (await asyncio.wait_for(greeting, CONNECT)).abort()
    except asyncio.TimeoutError:
        raise OSError(f"whoever listens there says nothing for {CONNECT:g} s") from None
    except MemoryError:
        # The first bytes are taken for the size of what follows.
        raise OSError("whoever listens there says something else") from None


def _slurm(jobs: SlurmSettings) -> Any:
    with _ctrl_c_kept():
        try:
            from dask_jobqueue import SLURMCluster
        except ModuleNotFoundError as error:
            raise SettingsError(f"--slurm needs {error.name}", mend="pip install dask-jobqueue") from None
    named = {
        "queue": jobs.queue,
        "account": jobs.account,
        "walltime": jobs.walltime,
        "cores": jobs.cores,
        "processes": jobs.processes or jobs.cores,
        "memory": jobs.memory,
        "interface": jobs.interface,
        "python": jobs.python,
        "log_directory": None if jobs.logs is None else str(jobs.logs),
        "job_extra_directives": list(jobs.directives),
        "job_script_prologue": list(jobs.prologue),
    }
    try:
        given = {name: value for name, value in named.items() if value is not None}
        cluster = SLURMCluster(job_name="hitsieve", scheduler_options={"dashboard_address": "127.0.0.1:0"}, **given)
        cluster.scale(jobs=jobs.jobs)
    except (OSError, RuntimeError, ValueError) as error:
        what = f"Slurm cannot be asked for workers: {error}"
        raise NoClusterError(what, mend="see the table [cluster.jobs]") from None
    return cluster


@contextmanager
def _ctrl_c_kept() -> Iterator[None]:
    """What dask-jobqueue sets for Ctrl-C when it is imported would end this process as if all were well."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


def told(error: BaseException) -> str:
    """What an error says, or what it is."""
    return str(error) or type(error).__name__
