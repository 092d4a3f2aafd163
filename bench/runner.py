"""Takes the steps of a run and returns what each one saw."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import pulls
from bench.arms import Site, open_arm
from bench.manifests import Image, Target
from bench.samples import ArmRun, ClientSample
from bench.scenarios import KILLED_AT, Step
from vmreg.vms.fleet import fleet
from vmreg.vms.provider import VmSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.arms import OpenArm, Position
    from bench.progress import Progress
    from bench.upstream import Counted, Upstream
    from vmreg.vms.provider import Provider, Vm


@dataclass(frozen=True, kw_only=True)
class Runner:
    """All that the steps have in common.

    :param reference: as ``docker pull`` takes it.
    :param target: the same image at the upstream itself.
    :param image: what it is.
    """

    site: Site
    upstream: Upstream
    provider: Provider
    reference: str
    target: Target
    image: Image
    progress: Progress

    def take(self, step: Step, *, last: bool = False) -> ArmRun:
        """Start what a step needs, let its clients pull, and remove everything again.

        :param last: no further step follows, so this one's containers may be kept.
        :raises VmregError: something did not start, or a client could not pull.
        """
        kept = self.site.engine.holding_at_end(last=last)
        with open_arm(step.arm, self.site, progress=self.progress.say) as arm, kept:
            if step.uses_vms:
                return self._with_vms(step, arm, last=last)
            return self._with_http(step, arm)

    def _with_vms(self, step: Step, arm: OpenArm, *, last: bool) -> ArmRun:
        work = pulls.VmPulls(
            provider=self.provider,
            reference=self.reference,
            image=self.image,
            progress=self.progress,
        )
        self.progress.say(f"starting {step.clients} VMs")
        kept = self.site.engine.holding_at_end(last=last)
        with fleet(self.provider, self._specs(step, arm)) as vms, kept:
            epoch, start = time.time(), arm.position()
            watch = self.upstream.watch(arm, start)
            let_pull = work.sequential if step.pattern == "sequential" else work.concurrent
            clients = let_pull(vms, epoch=epoch)
            counted = watch.read(clients=_names(vms), epoch=epoch)
        if step.pattern == "sequential" and arm.logs is not None:
            clients = pulls.by_time(clients, arm.edge_since(start), epoch=epoch)
        return self._run(step, arm, start, counted, clients)

    def _with_http(self, step: Step, arm: OpenArm) -> ArmRun:
        target = Target(
            endpoint=arm.endpoint,
            repository=self.target.repository,
            reference=self.target.reference,
        )
        epoch, start = time.time(), arm.position()
        watch = self.upstream.watch(arm, start)
        done = pulls.http_pulls(
            target,
            clients=step.clients,
            total_bytes=self.image.unique_bytes,
            progress=self.progress,
            first_dies_at=KILLED_AT if step.pattern == "first-killed" else 0.0,
        )
        counted = watch.read(clients={}, epoch=epoch)
        clients = tuple(
            pulls.http_sample(one, self.image, epoch=epoch, hub=counted.first_bytes) for one in done
        )
        if arm.logs is not None:
            clients = pulls.by_agent(clients, arm.edge_since(start))
        return self._run(step, arm, start, counted, clients)

    def _run(
        self,
        step: Step,
        arm: OpenArm,
        start: Position,
        counted: Counted,
        clients: Sequence[ClientSample],
    ) -> ArmRun:
        edge, origin = arm.edge_since(start), arm.origin_since(start)
        logs = arm.logs is not None
        return ArmRun(
            arm=step.arm,
            pattern=step.pattern,
            vms=step.clients,
            unique_bytes=self.image.unique_bytes,
            counted_by=counted.counted_by,
            requests=counted.requests,
            clients=tuple(clients),
            network=counted.network,
            egress_bytes=sum(row.received_bytes for row in origin) if logs else None,
            edge_bytes=sum(row.sent_bytes for row in edge) if logs else None,
            edge_requests=len(edge) if logs else None,
        )

    def _specs(self, step: Step, arm: OpenArm) -> list[VmSpec]:
        ca_file = self.site.ca_file
        return [
            VmSpec(
                name=f"{self.site.name}-{number:02d}",
                network=self.site.network,
                mirror=arm.mirror,
                ca_pem=ca_file.read_bytes() if ca_file else None,
            )
            for number in range(1, step.clients + 1)
        ]


def _names(vms: Sequence[Vm]) -> Mapping[str, str]:
    return {vm.address: pulls.short(vm.name) for vm in vms}
