"""Several VMs for as long as a block runs: made in parallel, gone afterwards however it ends."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from vmreg.vms.provider import Provider, Vm, VmSpec

# Creating is mostly the engine's work; more than this many at once only queue in it.
WORKERS = 16


@contextmanager
def fleet(
    provider: Provider,
    specs: Sequence[VmSpec],
    *,
    timeout_s: float = 120,
    progress: Callable[[Vm], None] = lambda _: None,
) -> Iterator[tuple[Vm, ...]]:
    """Create VMs in parallel, wait for their dockerd, and destroy all of them at the end.

    The end is any: an error, Ctrl-C in the middle of creating, SIGTERM or a closed terminal. While
    VMs are being destroyed further signals wait.

    :param specs: their names must be new and differ.
    :param timeout_s: seconds that each VM has until its dockerd answers.
    :param progress: told each VM that is ready, from several threads.
    :returns: the VMs in the order of the specs.
    :raises VmregError: one of them failed; the first failure.
    """
    with _signals_end_the_block():
        makers = _Makers(provider, specs, timeout_s=timeout_s, progress=progress)
        try:
            yield makers.run()
        finally:
            with _signals_wait():
                makers.undo()


class _Makers:
    """The threads that create a fleet, and what has to be undone after them."""

    def __init__(
        self,
        provider: Provider,
        specs: Sequence[VmSpec],
        *,
        timeout_s: float,
        progress: Callable[[Vm], None],
    ) -> None:
        self._provider, self._specs = provider, specs
        self._timeout_s, self._progress = timeout_s, progress
        self._ending = threading.Event()
        self._made: list[str] = []
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="fleet")

    def run(self) -> tuple[Vm, ...]:
        """Return the VMs, ready, in the order of the specs."""
        futures = [self._pool.submit(self._make, spec) for spec in self._specs]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        return tuple(future.result() for future in futures)

    def undo(self) -> None:
        """Destroy what was made; first let each thread end the one step that it is in."""
        self._ending.set()
        self._destroy_made()
        self._pool.shutdown(cancel_futures=True)
        # A thread may have ended its creation while the others were being destroyed.
        self._destroy_made()

    def _make(self, spec: VmSpec) -> Vm:
        if self._ending.is_set():
            raise VmregError(brief=f"the VM {spec.name} was not created: the others failed")
        vm = self._provider.create(spec)
        # Only what create returned is ours: a name that was taken belongs to somebody else.
        self._made.append(spec.name)
        if not self._ending.is_set():
            self._provider.wait_ready(spec.name, timeout_s=self._timeout_s)
            self._progress(vm)
        return vm

    def _destroy_made(self) -> None:
        names, self._made[:] = tuple(self._made), []
        with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="fleet-end") as pool:
            failures = [
                error
                for error in (
                    future.exception()
                    for future in [pool.submit(self._provider.destroy, name) for name in names]
                )
                if error
            ]
        if failures:
            raise failures[0]


@contextmanager
def _signals_end_the_block() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that the VMs are destroyed."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handlers({signal.SIGTERM: end, signal.SIGHUP: end}):
        yield


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold signals back until the block ends; the first one then takes its course."""
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    with _handlers(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), hold)):
        yield
    if held:
        signal.raise_signal(held[0])


@contextmanager
def _handlers(
    wanted: dict[signal.Signals, Callable[[int, FrameType | None], None]],
) -> Iterator[None]:
    """Set signal handlers for a block; only the main thread can, and only it gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
