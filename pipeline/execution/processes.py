"""Runs one function on many inputs, in this process or in several of one thread each, and gives the results in order.

For sets whose shards are functions of their settings and number: rendered photographs and the views that annotators learn from.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""Variables that limit the threads of libraries: a worker is one thread of work."""


def in_processes(make: Callable[[Given], Result], given: Sequence[Given], workers: int) -> Iterator[Result]:
    """Yield `make` of each input, in their order.

    Args:
        make: a function that can be pickled, where there are several workers.
        given: its inputs; with one of them, or one worker, all is done in this process.
        workers: processes.

    Raises:
        Exception: what `make` raised; inputs that no process has begun are not begun then.
        ChildProcessError: a process was killed.

    Processes end when this one is killed.
    """
    if workers <= 1 or len(given) <= 1:
        yield from map(make, given)
        return
    context = multiprocessing.get_context("spawn")
    with single_threads(), ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        futures = [pool.submit(make, one) for one in given]
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            words = "a worker process was killed, perhaps for lack of memory; rerun the command to resume, with fewer workers"
            raise ChildProcessError(words) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Let this process end when the one that began it is gone: killed, it cannot tell."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def single_threads() -> Iterator[None]:
    """Let processes that start meanwhile compute with one thread each: they inherit the environment."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
