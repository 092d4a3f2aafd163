"""Fetch images through the edge, so that the cache has them before anybody waits for them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from vmreg import serving, store, waiting
from vmreg.errors import DegradedError, NotRunningError, VmregError
from vmreg.manifests import platform_of_config
from vmreg.prewarm import jobs
from vmreg.prewarm.edge import Edge, FetchError
from vmreg.prewarm.images import choose, find
from vmreg.prewarm.progress import Silent
from vmreg.prewarm.quota import Watch
from vmreg.prewarm.results import Prewarmed, Quota

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from vmreg.manifests import Blob, Platform
    from vmreg.prewarm.images import Choice
    from vmreg.prewarm.jobs import Job
    from vmreg.prewarm.progress import Events
    from vmreg.prewarm.references import Named
    from vmreg.stack import Stack

    T = TypeVar("T")

PARALLEL = 3  # dockerd's own default
KEPT_TIMEOUT_S = 60
EDGE_TIMEOUTS = 6  # the edge gives up first, so that its own answer is seen


def pull(
    stack: Stack,
    wanted: Sequence[Named],
    *,
    choice: Choice | None = None,
    events: Events | None = None,
) -> Prewarmed:
    """Bring images into the cache, through its edge, and return how each of them went.

    Every blob that is not on the cache's disk is fetched once, checked and thrown away; storage
    keeps it. A second call finds all of it there, fetches no blob and costs no pull of the hub's
    limit. An image that fails stops no other: see :meth:`Prewarmed.raise_failures`.

    :param choice: the platforms; this host's when ``None``.
    :param events: told about each image from several threads; entered and left here.
    :raises NotRunningError: the cache does not run.
    :raises DegradedError: it runs, and does not serve.
    """
    began = time.monotonic()
    address, port = _serving(stack)
    settings = stack.settings.registry
    todo, skipped = jobs.sort(wanted, choice or choose(()), allowed=settings.repositories)
    watch = Watch(stack.state / "logs" / "origin.jsonl")
    timeout_s = EDGE_TIMEOUTS * settings.upstream.timeout.total_seconds()
    edge = Edge(address, port, timeout_s=max(timeout_s, KEPT_TIMEOUT_S))
    with events or Silent() as shown, _pool(edge) as pool:
        fetcher = _Fetcher(edge, stack.state / "data", shown)
        _every(pool, fetcher.look, todo)
        before = watch.before()
        _every(pool, fetcher.fetch, fetcher.plan(todo))
    return Prewarmed(
        images=tuple(job.result() for job in todo),
        skipped=skipped,
        quota=Quota(before=before, after=watch.after()),
        fetched_bytes=sum(job.fetched_bytes for job in todo),
        seconds=time.monotonic() - began,
    )


def _serving(stack: Stack) -> tuple[str, int]:
    """Return where the edge listens.

    :raises NotRunningError: the cache does not run.
    :raises DegradedError: it runs, and does not serve.
    """
    address, port = stack.bound()[0], stack.settings.registry.port
    proxy = stack.container("proxy")
    if proxy is None or not proxy.running:
        raise NotRunningError(
            brief="the cache is not running", resolution="Start it: vm registry start"
        )
    fault = serving.fault(address, port)
    if fault:
        raise DegradedError(
            brief="the cache runs and does not serve",
            details=fault,
            resolution="Look at its parts: vm registry status",
        )
    return address, port


@contextmanager
def _pool(edge: Edge) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that end at once when the block is left by an error, such as Ctrl-C."""
    try:
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prewarm") as pool:
            try:
                yield pool
            except BaseException:
                edge.cut()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        edge.close()


def _every(pool: ThreadPoolExecutor, act: Callable[[T], None], items: Iterable[T]) -> None:
    """Call ``act`` on each item and return when all of that is over.

    :raises Exception: what the first of them raised, once all have ended.
    """
    for future in [pool.submit(act, item) for item in items]:
        future.result()


class _Fetcher:
    """Does the work in the pool's threads, and keeps the account of it under one lock."""

    def __init__(self, edge: Edge, data: Path, events: Events) -> None:
        self._edge, self._data, self._events = edge, data, events
        self._lock = threading.RLock()
        self._one_at_a_time: dict[str, threading.Lock] = {}
        self._users: dict[str, list[Job]] = {}

    def look(self, job: Job) -> None:
        """Fetch a job's manifests, and the configuration where that alone tells the platform."""
        job.began = time.monotonic()
        try:
            job.found = find(self._edge, job.reference, job.choice)
            job.platforms = job.found.platforms
            if job.found.config is not None:
                job.platforms = (self._single(job, job.found.config),)
        except FetchError as error:
            self._end(job, str(error))
            return
        job.done_bytes = job.found.manifest_bytes + sum(
            blob.size_bytes for blob in job.found.blobs if self._is_kept(blob)
        )
        self._events.begin(job.name, total_bytes=job.total_bytes)
        self._events.advance(job.name, done_bytes=job.done_bytes)

    def plan(self, todo: Sequence[Job]) -> list[Blob]:
        """Return the blobs that the cache lacks, each once, the first image's first."""
        missing: dict[str, Blob] = {}
        for job in todo:
            if job.found is None or job.is_over:
                continue
            for blob in job.found.blobs:
                if blob.digest in missing or not self._is_kept(blob):
                    missing[blob.digest] = blob
                    job.waiting.add(blob.digest)
                    self._users.setdefault(blob.digest, []).append(job)
            self._check_over(job)
        return list(missing.values())

    def fetch(self, blob: Blob) -> None:
        """Bring a blob into the cache for all jobs that need it."""
        users = self._users[blob.digest]

        def count(got: int) -> None:
            with self._lock:
                for job in users:
                    job.done_bytes += got
                    self._events.advance(job.name, done_bytes=job.done_bytes)

        try:
            fetched = self._bring(users[0].reference.repository, blob, count)
        except FetchError as error:
            for job in users:
                self._end(job, str(error))
            return
        with self._lock:
            users[0].fetched_bytes += fetched
            for job in users:
                job.waiting.discard(blob.digest)
                self._check_over(job)

    def _single(self, job: Job, config: Blob) -> Platform:
        """Return the platform of an image that is for one alone.

        :raises FetchError: it is not a platform that is wanted.
        """
        fetched = self._bring(job.reference.repository, config, lambda _: None)
        job.fetched_bytes += fetched
        try:
            platform = platform_of_config(store.blob_path(self._data, config.digest).read_bytes())
        except (OSError, ValueError) as error:
            raise FetchError(f"its configuration cannot be read: {error}") from error
        wished = job.choice.platforms
        if not job.choice.every and not any(platform.means(one) for one in wished):
            raise FetchError(f"it is for {platform} alone, not for {', '.join(map(str, wished))}")
        return platform

    def _bring(self, repository: str, blob: Blob, count: Callable[[int], None]) -> int:
        """Make sure that the cache has a blob, and return the bytes that were fetched for that."""
        with self._lock:
            mine = self._one_at_a_time.setdefault(blob.digest, threading.Lock())
        with mine:
            if self._is_kept(blob):
                count(blob.size_bytes)
                return 0
            fetched = self._edge.blob(repository, blob.digest, count)
            self._await_kept(blob)
            return fetched

    def _await_kept(self, blob: Blob) -> None:
        """Wait for storage to put a blob in place, which it does a moment after its last byte."""

        def kept() -> bool | None:
            if self._edge.is_cut:
                raise FetchError("interrupted")
            return True if self._is_kept(blob) else None

        try:
            waiting.until(kept, what=blob.digest, timeout_s=KEPT_TIMEOUT_S, interval_s=0.02)
        except VmregError as error:
            raise FetchError(
                f"the cache passed {blob.digest} on and did not keep it; is its disk full? "
                "See: vm registry status"
            ) from error

    def _is_kept(self, blob: Blob) -> bool:
        try:
            return store.blob_path(self._data, blob.digest).stat().st_size == blob.size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _check_over(self, job: Job) -> None:
        if not job.waiting:
            self._end(job, "")

    def _end(self, job: Job, error: str) -> None:
        with self._lock:
            if job.is_over:
                return
            job.is_over, job.error = True, error
            job.seconds = time.monotonic() - job.began
        if self._edge.is_cut:  # after Ctrl-C nobody wants to hear of each
            return
        self._events.finish(
            job.name, fetched_bytes=job.fetched_bytes, seconds=job.seconds, error=error
        )
