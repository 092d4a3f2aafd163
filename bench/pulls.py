"""The two kinds of clients: VMs with a dockerd, and plain HTTP clients; both end in samples."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from bench.parallel import at_once
from bench.puller import AGENT, ImagePull, name_of, pull_many
from bench.samples import ClientSample, FirstByte, NetworkCounter
from vmreg.vms.pulling import pull

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.manifests import Image, Target
    from bench.progress import Progress
    from vmreg.accesslog import EdgeRecord
    from vmreg.vms.provider import NetworkCounters, Provider, Vm

POLL_S = 1.0


@dataclass(frozen=True, kw_only=True)
class VmPulls:
    """VMs that pull; each one's counters are read before and after.

    :param reference: as ``docker pull`` takes it.
    :param image: what the reference has to turn out to be.
    """

    provider: Provider
    reference: str
    image: Image
    progress: Progress

    def sequential(self, vms: Sequence[Vm], *, epoch: float) -> tuple[ClientSample, ...]:
        """Let one VM after another pull; times count from ``epoch``."""
        return tuple(self._one(vm, epoch) for vm in vms)

    def concurrent(self, vms: Sequence[Vm], *, epoch: float) -> tuple[ClientSample, ...]:
        """Let all VMs pull from the same instant on; times count from ``epoch``."""
        return at_once([partial(self._one, vm, epoch) for vm in vms], name="pull")

    def _one(self, vm: Vm, epoch: float) -> ClientSample:
        name = short(vm.name)
        before = self.provider.received(vm.name)
        self.progress.start(name, total_bytes=self.image.unique_bytes)
        with self._watching(vm, before):
            started = time.time()
            pulled = pull(self.provider, vm.name, self.reference)
        after = self.provider.received(vm.name)
        self.progress.update(name, self.image.unique_bytes)
        self.progress.finish(name, seconds=pulled.seconds)
        ids = {self.image.config_digest, self.image.tag_digest}
        return ClientSample(
            name=name,
            started_s=started - epoch,
            finished_s=started - epoch + pulled.seconds,
            network=_moved(before, after),
            digests_ok=pulled.digest == self.image.tag_digest and pulled.image_id in ids,
        )

    @contextmanager
    def _watching(self, vm: Vm, before: NetworkCounters) -> Iterator[None]:
        """Show how far a VM has come, where somebody looks."""
        if not self.progress.live:
            yield
            return
        done = threading.Event()

        def look() -> None:
            while not done.wait(POLL_S):
                moved = _moved(before, self.provider.received(vm.name))
                self.progress.update(short(vm.name), moved.payload_bytes)

        watcher = threading.Thread(target=look, name=f"watch-{vm.name}", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()


def http_pulls(
    target: Target,
    *,
    clients: int,
    total_bytes: int,
    progress: Progress,
    first_dies_at: float = 0.0,
) -> tuple[ImagePull, ...]:
    """Let plain HTTP clients pull at once, with progress."""
    for number in range(clients):
        progress.start(name_of(number), total_bytes=total_bytes)

    def hear(number: int, received_bytes: int, _: int) -> None:
        progress.update(name_of(number), received_bytes)

    done = pull_many(target, clients=clients, listener=hear, first_dies_at=first_dies_at)
    for one in done:
        note = "killed on purpose" if one.abandoned else ""
        progress.finish(name_of(one.client), seconds=one.seconds, note=note)
    return done


def http_sample(
    done: ImagePull, image: Image, *, epoch: float, hub: Mapping[str, float]
) -> ClientSample:
    """Return a plain HTTP client's sample; times count from ``epoch``.

    :param hub: digest to the time at which the hub began to send that blob.
    """
    started_s = done.started_s - epoch
    whole = done.manifest_digest == image.tag_digest and len(done.blobs) == len(image.blobs)
    return ClientSample(
        name=name_of(done.client),
        started_s=started_s,
        finished_s=started_s + done.seconds,
        body_bytes=done.body_bytes,
        digests_ok=None if done.abandoned else whole and done.matches,
        killed=done.abandoned,
        first_bytes=tuple(
            FirstByte(
                digest=blob.digest,
                asked_s=started_s + blob.started_s,
                came_s=started_s + blob.started_s + blob.first_byte_s,
                hub_s=hub.get(blob.digest),
            )
            for blob in sorted(done.blobs, key=lambda blob: blob.started_s)
        ),
    )


def by_agent(
    clients: Sequence[ClientSample], edge: Sequence[EdgeRecord]
) -> tuple[ClientSample, ...]:
    """Return the clients with what the edge logged under each one's ``User-Agent``."""
    return tuple(
        _with_edge(client, [row for row in edge if row.agent == AGENT + client.name])
        for client in clients
    )


def by_time(
    clients: Sequence[ClientSample], edge: Sequence[EdgeRecord], *, epoch: float
) -> tuple[ClientSample, ...]:
    """Return clients that came one after another with what the edge logged in each one's time."""
    starts = [client.started_s for client in clients]
    ends = [*starts[1:], float("inf")]
    return tuple(
        _with_edge(client, [row for row in edge if start <= row.time - epoch < end])
        for client, start, end in zip(clients, starts, ends, strict=True)
    )


def short(vm_name: str) -> str:
    """Return a VM's name without the part that is the same for the whole run."""
    return "vm-" + vm_name.rpartition("-")[2]


def _with_edge(client: ClientSample, rows: Sequence[EdgeRecord]) -> ClientSample:
    return replace(client, edge_bytes=sum(row.sent_bytes for row in rows), edge_requests=len(rows))


def _moved(before: NetworkCounters, after: NetworkCounters) -> NetworkCounter:
    return NetworkCounter(
        rx_bytes=after.rx_bytes - before.rx_bytes, rx_packets=after.rx_packets - before.rx_packets
    )
