"""What a benchmark run consists of: pure data and the order of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import UsageError

if TYPE_CHECKING:
    from bench.samples import Arm, Pattern

MAX_CLIENTS = 32
KILLED_AT = 0.5  # of the largest layer
MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Step:
    """One arm pulling in one pattern, from an empty cache and fresh clients."""

    arm: Arm
    pattern: Pattern
    clients: int

    @property
    def uses_vms(self) -> bool:
        """Whether the clients are VMs with a dockerd, and not plain HTTP clients."""
        return self.pattern in {"sequential", "concurrent"}

    @property
    def title(self) -> str:
        """The step in words."""
        who = "VM" if self.uses_vms else "HTTP client"
        how = {
            "sequential": "one after another",
            "concurrent": "all at once",
            "concurrent-http": "all at once",
            "first-killed": "all at once, the first one killed",
        }[self.pattern]
        return f"{self.arm}: {self.clients} {who}{'s' * (self.clients > 1)} {how}"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How much is measured.

    :param scale: size of the embedded hub's images as a share of the real ones'.
    :param bandwidth_bytes_s: the embedded hub's cap over all connections together.
    :param cold_pulls: how often a single VM pulls direct, and then another one through an empty
        cache, for a comparison of like with like.
    :param everywhere: let plain HTTP clients pull through every arm, not only where it matters.
    """

    scale: float
    bandwidth_bytes_s: int
    cold_pulls: int
    everywhere: bool


PROFILES = {
    "quick": Profile(scale=0.1, bandwidth_bytes_s=12 * MB, cold_pulls=4, everywhere=False),
    "full": Profile(scale=1.0, bandwidth_bytes_s=30 * MB, cold_pulls=2, everywhere=True),
}


def profile(name: str) -> Profile:
    """Return a profile by its name.

    :raises UsageError: there is none of that name.
    """
    if name not in PROFILES:
        raise UsageError(
            brief=f"--profile {name} is not known",
            resolution=f"Choose one of {', '.join(sorted(PROFILES))}.",
        )
    return PROFILES[name]


def steps(chosen: Profile, *, vms: int) -> tuple[Step, ...]:
    """Return the steps of a run in their order.

    The direct pull of one HTTP client comes first: it measures the hub itself. Direct and cached
    pulls of one VM alternate, so that whatever else the host does meets both.

    :raises UsageError: ``vms`` is not from 1 to 32.
    """
    if not 1 <= vms <= MAX_CLIENTS:
        raise UsageError(
            brief=f"--vms {vms} is not between 1 and {MAX_CLIENTS}",
            resolution="10 is a good start; the 80 % criterion needs 6 or more.",
        )
    http_counts = sorted({1, vms, MAX_CLIENTS})
    found = [Step(arm="direct", pattern="concurrent-http", clients=1)]
    for arm in ("direct", "registry2", "vmreg"):
        found.append(Step(arm=arm, pattern="sequential", clients=vms))
        if vms > 1:
            found.append(Step(arm=arm, pattern="concurrent", clients=vms))
    pair = [Step(arm=arm, pattern="sequential", clients=1) for arm in ("direct", "vmreg")]
    found += pair * chosen.cold_pulls
    found += [Step(arm="vmreg", pattern="concurrent-http", clients=n) for n in http_counts]
    if vms > 1:
        found.append(Step(arm="vmreg", pattern="first-killed", clients=vms))
    if chosen.everywhere and vms > 1:
        found += [
            Step(arm=arm, pattern="concurrent-http", clients=vms) for arm in ("registry2", "direct")
        ]
    return tuple(found)
