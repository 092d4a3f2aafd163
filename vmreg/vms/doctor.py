"""Finds out whether a VM really pulls through the cache, and what is in the way."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg import store
from vmreg.errors import VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms import cache, checks, firewall, proof, proxies, symptoms
from vmreg.vms.findings import Finding, Report, skip
from vmreg.vms.firewall import Verdict
from vmreg.vms.provider import DOCKERLESS_LABEL, VmConnection
from vmreg.vms.seen import Seen
from vmreg.vms.symptoms import Reach, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmreg.stack import Stack
    from vmreg.vms.cache import Cache
    from vmreg.vms.provider import Provider, Vm

__all__ = ["Finding", "Report", "examine"]

_FATAL = ("failed to start daemon", "unable to configure the Docker daemon", "level=fatal")
_STARTED = 'msg="Starting up"'
# What does not keep a pull from being tried: it shows whether the rest is well.
_ASIDE = {"builds", "clock"}


def examine(
    stack: Stack, provider: Provider, name: str, *, now: Callable[[], float] = time.time
) -> Report:
    """Return what is right and what is wrong with a VM, ending with a real pull in it.

    Nothing is changed, and nothing is raised for a VM, a cache or an engine that is ill. Takes a
    second for a healthy VM, and two minutes at most.

    :param now: this host's clock, seconds since the epoch.
    """
    seen = _look(stack, provider, name, now)
    findings = tuple(check(seen) for check in checks.CHECKS)
    return Report(vm=name, findings=(*findings, _proof(stack, provider, seen, findings)))


def _look(stack: Stack, provider: Provider, name: str, now: Callable[[], float]) -> Seen:
    """Look at all that the checks judge; later looks depend on what earlier ones saw."""
    seen = _outside(stack, provider, name)
    if seen.vm is None or not seen.vm.running:
        return seen
    vm = VmConnection(provider=provider, name=name)
    try:
        seen = replace(seen, asked_at_s=now(), facts=symptoms.ask(vm))
    except VmregError as error:
        return replace(seen, silence=f"the VM cannot be asked: {error.brief}")
    if seen.facts is not None and seen.facts.daemon is None:
        if seen.dockerless:
            return replace(seen, facts=None, silence="it was made without Docker")
        seen = replace(seen, last_words="" if seen.facts.hung else _last_words(vm))
    return _ways(vm, seen)


def _last_words(vm: VmConnection) -> str:
    """Return the last line in which dockerd said why it ended."""
    try:
        return last_words(vm.daemon_log(tail=50))
    except VmregError:
        return ""


def last_words(log: str) -> str:
    """Return the last line that says why dockerd ended; older than its last start is of no use.

    A file that it refuses it complains of before it says that it starts.

    >>> last_words('failed to start daemon: x' + chr(10) + 'level=info msg="Starting up"')
    ''
    """
    for line in reversed(log.splitlines()):
        if _STARTED in line:
            return ""
        if any(word in line for word in _FATAL):
            return line
    return ""


def _outside(stack: Stack, provider: Provider, name: str) -> Seen:
    """See what this host knows of the VM and of the cache."""
    vm, trouble = _find(provider, name)
    found, cache_trouble = _cache(stack)
    hosts, bound = _addresses(stack)
    return Seen(
        name=name,
        vm=vm,
        trouble=trouble,
        cache=found,
        cache_trouble=cache_trouble,
        wanted=stack.settings.registry.enabled,
        port=stack.settings.registry.port,
        hosts=hosts,
        bound=bound,
        silence=trouble or ("" if vm is not None and vm.running else "the VM does not run"),
        dockerless=vm is not None and DOCKERLESS_LABEL in vm.labels,
    )


def _find(provider: Provider, name: str) -> tuple[Vm | None, str]:
    try:
        return next((vm for vm in provider.list() if vm.name == name), None), ""
    except VmregError as error:
        return None, f"the VMs cannot be listed: {error.brief}"


def _cache(stack: Stack) -> tuple[Cache | None, str]:
    try:
        return cache.look(stack), ""
    except (VmregError, OSError) as error:
        return None, f"the cache cannot be looked at: {error}"


def _addresses(stack: Stack) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return where VMs find this host, the engine's bridge first, and where the cache listens."""
    try:
        bridge, bound = stack.engine.bridge_gateway(), stack.bound()
    except VmregError:
        return (), ()
    others = [one for one in bound if not ip_address(one).is_loopback]
    return tuple(dict.fromkeys((bridge, *others))), bound


def _ways(vm: VmConnection, seen: Seen) -> Seen:
    """Try the ways from the VM to the cache and to its proxy, where there is a reason to."""
    if seen.serves and (seen.resolves or not seen.hosts):
        seen = replace(seen, reach=_to_cache(vm, seen.port))
        if seen.reach is not None and seen.reach.way in {Way.DROPPED, Way.REFUSED, Way.NO_ROUTE}:
            verdict = _rules(vm, seen)
            seen = replace(seen, rule=verdict.rule, rules_unsure=verdict.unsure)
    daemon = seen.facts.daemon if seen.facts else None
    if daemon is None or proxies.goes_around(daemon.no_proxy, HOST_NAME, seen.port):
        return seen
    address = proxies.address_of(daemon.proxy) if daemon.proxy else None
    return replace(seen, proxy_reach=_try(vm, *address)) if address else seen


def _to_cache(vm: VmConnection, port: int) -> Reach:
    """Ask for what no other server has: the manifest of the probe image."""
    path = f"/v2/{store.PROBE_REPOSITORY}/manifests/{store.probe().manifest_digest}"
    return _try(vm, HOST_NAME, port, path=path, accept=store.MANIFEST_TYPE)


def _try(vm: VmConnection, host: str, port: int, *, path: str = "", accept: str = "*/*") -> Reach:
    try:
        return symptoms.reach(vm, host, port, path=path, accept=accept)
    except VmregError as error:
        return Reach(way=Way.UNKNOWN, body=error.brief)


def _rules(vm: VmConnection, seen: Seen) -> Verdict:
    """Return what the VM's own packet filter has to do with the way to the cache."""
    try:
        listed = vm.exec(["iptables", "-S", "OUTPUT"]).output
    except VmregError:  # no iptables in it
        return Verdict()
    addresses = seen.facts.addresses if seen.facts else seen.hosts
    return firewall.judge(listed, addresses=addresses, port=seen.port)


def _proof(stack: Stack, provider: Provider, seen: Seen, findings: tuple[Finding, ...]) -> Finding:
    """Let the VM pull, unless it is known what would become of it."""
    causes = [one.id for one in findings if one.status == "fail" and one.id not in _ASIDE]
    if seen.vm is not None and seen.vm.running and seen.silence:
        return skip(proof.CHECK, f"not tried: {seen.silence}")
    if causes:
        return skip(proof.CHECK, f"not tried because of: {', '.join(causes)}")
    found, daemon = seen.cache, seen.facts.daemon if seen.facts else None
    if found is None or not seen.serves or daemon is None:
        reasons = [one.summary for one in findings if one.status == "skip"]
        return skip(proof.CHECK, f"not tried: {reasons[0]}")
    state = Path(found.folder)
    if state != stack.state and not proof.may_write(state):
        return skip(proof.CHECK, f"not tried: {found.detail}")
    vm = VmConnection(provider=provider, name=seen.name)
    return proof.pull(state, vm, name=seen.name, architecture=daemon.architecture)
