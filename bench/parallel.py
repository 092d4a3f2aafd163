"""Several jobs at the same instant, and a way out that does not wait for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def at_once(jobs: Sequence[Callable[[], T]], *, name: str) -> tuple[T, ...]:
    """Run every job in a thread of its own, all from the same instant on.

    When one fails the others are allowed to end. When the caller is interrupted they are left
    behind: what they talk to is about to be removed, and that ends them.

    :param name: what the threads' names begin with.
    :returns: the results, in the order of the jobs.
    :raises Exception: what the first failed job, in that order, raised.
    """
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], T]) -> T:
        gate.wait()
        return job()

    pool = ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix=name)
    try:
        futures = [pool.submit(run, job) for job in jobs]
        wait(futures)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return tuple(future.result() for future in futures)
