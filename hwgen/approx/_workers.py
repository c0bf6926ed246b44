"""Independent calls on threads, processes or a Dask cluster, all through joblib."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar

import joblib

from hwgen.errors import ToolError, ToolNotFoundError

__all__ = ["Backend", "Call", "run_calls"]

Backend = Literal["threading", "loky", "dask"]
"""Threads of this process, processes of this machine, or the workers of a Dask cluster."""

_T = TypeVar("_T")
Call = tuple[Callable[..., _T], tuple[Any, ...], dict[str, Any]]
"""A function with its arguments, as ``joblib.delayed`` makes it."""

_CONNECT_SECONDS = 10


@contextlib.contextmanager
def run_calls(
    calls: Iterable[Call[_T]], *, jobs: int, backend: Backend, scheduler: str | None
) -> Iterator[Iterator[_T]]:
    """The results of ``calls`` (made by ``joblib.delayed``) as they end, in any order.

    ``calls`` are read as workers become free, so that few of its arguments are in memory at once.
    Leaving the context early drops the calls that have not begun.

    Parameters
    ----------
    jobs
        Calls at the same time, at least 1. A cluster given by ``scheduler`` runs as many as it has
        cores.
    scheduler
        Address of the scheduler of a Dask cluster, such as ``tcp://10.0.0.1:8786``; None: a cluster
        of ``jobs`` processes on this machine, which ends with the context.

    Raises
    ------
    ToolNotFoundError
        If the backend is ``dask`` and Dask is not installed.
    ToolError
        If the scheduler cannot be reached or the cluster has no worker.
    """
    with contextlib.ExitStack() as stack:
        if backend == "dask":
            client = stack.enter_context(_dask_client(jobs, scheduler))
            stack.enter_context(joblib.parallel_config(backend="dask", client=client))
            parallel = joblib.Parallel(batch_size=1, return_as="generator_unordered")
        else:
            # arguments are read once: writing them to files for the workers to map would not pay
            parallel = joblib.Parallel(
                n_jobs=jobs,
                backend=backend,
                batch_size=1,
                max_nbytes=None,
                return_as="generator_unordered",
            )
        results = parallel(calls)
        stack.callback(_close, results)
        yield results


def _close(results: Any) -> None:
    with warnings.catch_warnings():
        # joblib warns of calls that were dropped, which is what leaving early asks for
        warnings.simplefilter("ignore", UserWarning)
        results.close()


@contextlib.contextmanager
def _dask_client(jobs: int, scheduler: str | None) -> Iterator[Any]:
    try:
        import dask
        import distributed
    except ImportError:
        raise ToolNotFoundError(
            "Backend 'dask' needs Dask; install it with: pip install 'hwgen[dask]'"
        ) from None
    make: Any = distributed  # its classes have no type annotations
    quiet = {
        # every part of the work is a task of its own, as large as one scale's weights
        "distributed.admin.large-graph-warning-threshold": "1TB",
        "distributed.comm.timeouts.connect": f"{_CONNECT_SECONDS}s",
    }
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(quiet))
        if scheduler is None:
            cluster = make.LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.ERROR,
                # Ctrl-C reaches every process of a terminal; the cluster is ended from here
                preload="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
            )
            scheduler = stack.enter_context(cluster).scheduler_address
        try:
            client = make.Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise ToolError(
                f"Dask scheduler {scheduler!r} cannot be reached ({reason}); start one with "
                "'dask scheduler' or leave the address out for a cluster on this machine"
            ) from None
        stack.enter_context(client)
        if not client.ncores():
            raise ToolError(
                f"Dask scheduler {scheduler!r} has no worker; start one with 'dask worker'"
            )
        yield client
