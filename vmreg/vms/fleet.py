"""Several VMs for as long as a block runs: made in parallel, gone afterwards however it ends."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from vmreg.errors import VmregError
from vmreg.interrupts import unwinding
from vmreg.vms import keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vmreg.vms.provider import Provider, Vm, VmSpec

T = TypeVar("T")

# Creating is mostly the engine's work; more than this many at once only queue in it.
WORKERS = 16
KEEPER_LABEL = "vmreg.vm.keeper"


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
    VMs are being destroyed further signals wait. What a killed process left behind is removed by
    the next fleet on the same host: see :func:`sweep`.

    :param specs: their names must be new and differ.
    :param timeout_s: seconds that each VM has until its dockerd answers.
    :param progress: told each VM that is ready, from several threads.
    :returns: the VMs in the order of the specs.
    :raises VmregError: one of them failed; the first failure.
    """
    with unwinding() as interrupts:
        sweep(provider)
        makers = _Makers(provider, timeout_s=timeout_s, progress=progress)
        try:
            yield makers.run(specs)
        finally:
            interrupts.hold()
            makers.undo()


def everywhere(vms: Sequence[Vm], work: Callable[[Vm], T]) -> tuple[T, ...]:
    """Run ``work`` for all VMs at once, a thread each; return the results in their order.

    An interrupt, or the first failure, does not wait for the rest: at the end of the fleet, what
    still runs in a VM ends with the VM.

    :raises Exception: whatever ``work`` raised first.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, len(vms)), thread_name_prefix="everywhere")
    try:
        return _results([pool.submit(work, vm) for vm in vms])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def sweep(provider: Provider) -> tuple[str, ...]:
    """Destroy the VMs of fleets whose process is gone; return their names, in order.

    Fleets of other hosts on the same provider, and VMs that are in no fleet, are left alone.
    """
    stale = tuple(
        vm.name for vm in provider.list() if keeper.is_gone(vm.labels.get(KEEPER_LABEL, ""))
    )
    for name in stale:
        provider.destroy(name)
    return stale


class _Makers:
    """The threads that create a fleet, and what has to be undone after them."""

    def __init__(
        self, provider: Provider, *, timeout_s: float, progress: Callable[[Vm], None]
    ) -> None:
        self._provider = provider
        self._timeout_s, self._progress = timeout_s, progress
        self._ending = threading.Event()
        self._made: list[str] = []
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="fleet")

    def run(self, specs: Sequence[VmSpec]) -> tuple[Vm, ...]:
        """Return the VMs, ready, in the order of the specs."""
        return _results([self._pool.submit(self._make, spec) for spec in specs])

    def undo(self) -> None:
        """Destroy what was made; each thread may first end the one step that it is in."""
        self._ending.set()
        self._destroy_made()
        self._pool.shutdown(cancel_futures=True)
        # A thread may have ended its creation while the others were being destroyed.
        self._destroy_made()

    def _make(self, spec: VmSpec) -> Vm:
        if self._ending.is_set():
            raise VmregError(brief=f"the VM {spec.name} was not created: the others failed")
        labels = {**spec.labels, KEEPER_LABEL: keeper.of_this_process()}
        vm = self._provider.create(replace(spec, labels=labels))
        # Only what create returned is ours: a name that was taken belongs to somebody else.
        self._made.append(spec.name)
        if not self._ending.is_set():
            self._provider.wait_ready(spec.name, timeout_s=self._timeout_s)
            self._progress(vm)
        return vm

    def _destroy_made(self) -> None:
        names, self._made[:] = tuple(self._made), []
        with ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="fleet-end") as pool:
            futures = [pool.submit(self._provider.destroy, name) for name in names]
        _results(futures)


def _results(futures: Sequence[Future[T]]) -> tuple[T, ...]:
    """Return all results, or raise the first failure as soon as there is one."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
    return tuple(future.result() for future in futures)
