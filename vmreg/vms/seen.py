"""What was looked at of a VM, before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg import serving
from vmreg.vms.cache import State

if TYPE_CHECKING:
    from vmreg.vms.cache import Cache
    from vmreg.vms.provider import Vm
    from vmreg.vms.symptoms import Facts, Reach


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that was looked at, from this host and from inside of the VM.

    :param vm: ``None`` when there is none of that name; ``trouble`` when that cannot be told.
    :param trouble: why the engine could not be asked for the VM; mostly empty.
    :param cache: ``None`` when it could not be looked at; ``cache_trouble`` then says why.
    :param wanted: whether VMs use the cache when nobody says anything.
    :param port: where the cache should listen.
    :param hosts: the addresses that ``host.docker.internal`` may resolve to.
    :param bound: the addresses that the cache listens on.
    :param facts: ``None`` when the VM could not be asked; ``silence`` then says why.
    :param last_words: why dockerd ended, by its own log; empty when that does not say.
    :param dockerless: whether it was made to do without Docker.
    :param asked_at_s: this host's clock when the VM was asked.
    :param reach: the way to the cache, ``None`` when it was not tried.
    :param rule: the packet filter's rule in the VM that has to do with that way; mostly empty.
    :param rules_unsure: whether it has rules that were not understood.
    :param proxy_reach: the way to the daemon's proxy, ``None`` when it was not tried.
    """

    name: str
    vm: Vm | None
    trouble: str = ""
    cache: Cache | None
    cache_trouble: str = ""
    wanted: bool = True
    port: int
    hosts: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    facts: Facts | None = None
    silence: str = ""
    last_words: str = ""
    dockerless: bool = False
    asked_at_s: float = 0
    reach: Reach | None = None
    rule: str = ""
    rules_unsure: bool = False
    proxy_reach: Reach | None = None

    @property
    def mirror(self) -> str:
        """The mirror that the VM should have."""
        return serving.mirror(self.port)

    @property
    def provisioning(self) -> str:
        """The command that gives the VM its mirror."""
        return f"vm provision {self.name}{'' if self.wanted else ' --registry'}"

    @property
    def resolves(self) -> bool:
        """Whether the VM finds this host by its name."""
        return self.facts is not None and bool(set(self.facts.addresses) & set(self.hosts))

    @property
    def serves(self) -> bool:
        """Whether the cache serves on this host."""
        return self.cache is not None and self.cache.state is State.SERVING
