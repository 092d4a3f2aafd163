"""The checks of a VM, in order: pure functions of what was seen, one finding each.

What is only the consequence of another finding is skipped, so that the cause stands out.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vmreg import store
from vmreg.errors import VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms import proxies
from vmreg.vms.addresses import host_of
from vmreg.vms.cache import State
from vmreg.vms.findings import Finding, fail, ok, skip
from vmreg.vms.provider import DAEMON_JSON
from vmreg.vms.provision import INSECURE, PLAIN_BUILDKIT
from vmreg.vms.symptoms import Store, Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmreg.vms.seen import Seen
    from vmreg.vms.symptoms import Daemon, Facts, Reach

LEAST_FREE_BYTES = 500_000_000
LEAST_FREE_INODES = 5_000
MOST_SKEW_S = 300
_OK, _FORBIDDEN = 200, 403
_PULLS = ("pull", "resolve")
_NO_DAEMON = "no dockerd answers in the VM"
_FIREWALL = "the packets are dropped on the way: a firewall"


def runs(seen: Seen) -> Finding:
    """Whether the VM runs."""
    if seen.trouble:
        return skip("vm-runs", seen.trouble)
    if seen.vm is None:
        remedy = f"vm create {seen.name}"
        return fail("vm-runs", f"there is no VM {seen.name}", remedy)
    if not seen.vm.running:
        return fail("vm-runs", f"{seen.name} is stopped", f"vm start {seen.name}")
    return ok("vm-runs", f"{seen.name} runs at {seen.vm.address}")


def docker(seen: Seen) -> Finding:
    """Whether a dockerd answers."""
    facts = seen.facts
    if facts is None:
        return skip("docker", seen.silence)
    if not facts.has_docker:
        remedy = f"vm destroy {seen.name}, and vm create {seen.name} with services.docker: true"
        return fail("docker", "there is no docker in the VM", remedy)
    if facts.daemon is None:
        what = f"{_NO_DAEMON}: {seen.last_words or facts.silence}"
        return fail("docker", what, f"vm logs {seen.name}")
    return ok("docker", f"Docker {facts.daemon.version} answers")


def image_store(seen: Seen) -> Finding:
    """Which image store the engine has; neither is wrong."""
    if seen.facts is None or seen.facts.daemon is None:
        return skip("image-store", seen.silence or _NO_DAEMON)
    daemon = seen.facts.daemon
    return ok("image-store", f"the {daemon.store.value} image store with {daemon.driver}")


def cache_up(seen: Seen) -> Finding:
    """Whether the cache serves on this host."""
    found = seen.cache
    if found is None:
        return skip("cache", seen.cache_trouble)
    if found.state is State.SERVING:
        return ok("cache", f"the cache serves at {found.address}")
    if found.state is State.FOREIGN:
        remedy = (
            f"stop it, or choose another port: vm registry config set docker_registry.port "
            f"{seen.port + 1}, then vm registry start and {seen.provisioning}"
        )
        return fail("cache", f"{found.address} is held by {found.detail}", remedy)
    what = "does not run" if found.state is State.STOPPED else f"does not serve: {found.detail}"
    return fail("cache", f"the cache {what}", "vm registry start")


def mirror_port(seen: Seen) -> Finding:
    """Whether the mirror on this host is at the cache's port."""
    if seen.facts is None:
        return skip("mirror-port", seen.silence)
    ours = [one for one in _listed(seen.facts) if host_of(one) == HOST_NAME]
    if not ours:
        return skip("mirror-port", f"the VM has no mirror on {HOST_NAME}")
    if seen.mirror in ours:
        return ok("mirror-port", f"the mirror is {seen.mirror}")
    summary = f"the VM's mirror is {ours[0]}, and the cache is {seen.mirror}"
    return fail("mirror-port", summary, seen.provisioning)


def host_name(seen: Seen) -> Finding:
    """Whether the VM finds this host by its name."""
    if seen.facts is None:
        return skip("host-name", seen.silence)
    if not seen.hosts:
        return skip("host-name", "the engine has no default bridge to compare with")
    found = ", ".join(seen.facts.addresses)
    if seen.resolves:
        return ok("host-name", f"{HOST_NAME} is {found}")
    wanted = seen.hosts[0]
    what = f"resolves to {found}, not to {wanted}" if found else "does not resolve"
    remedy = f"in the VM, let the line for it in /etc/hosts read: {wanted} {HOST_NAME}"
    return fail("host-name", f"{HOST_NAME} {what}", remedy)


def reached(seen: Seen) -> Finding:
    """Whether the VM reaches the cache, and the cache answers."""
    reach = seen.reach
    if reach is None:
        return skip("reach", _why_not_tried(seen))
    where = f"{HOST_NAME}:{seen.port}"
    if reach.way is Way.ANSWERED and reach.status == _OK and _is_probe(reach.body):
        return ok("reach", f"the VM gets the probe's manifest from {where}")
    if reach.way is Way.ANSWERED and reach.status == _FORBIDDEN:
        address = seen.vm.address if seen.vm else "its address"
        return fail("reach", f"the cache refuses {address} with 403", "vm registry start")
    if reach.way is Way.ANSWERED:
        said = f"HTTP status {reach.status}" if reach.status else "no HTTP"
        summary = f"something other than the cache answers at {where}: {said}"
        remedy = f"look for a redirection: vm exec {seen.name} -- iptables -t nat -S"
        return fail("reach", summary, remedy)
    if reach.way is Way.DROPPED:
        return fail("reach", f"no answer from {where}: {_FIREWALL}", _firewall_remedy(seen))
    return _not_reached(seen, reach, where)


def mirror_first(seen: Seen) -> Finding:
    """Whether the daemon and its file both list the mirror first."""
    if seen.facts is None:
        return skip("mirror-first", seen.silence)
    remedy = seen.provisioning
    try:
        written = seen.facts.configured_mirrors()
    except VmregError as error:
        what = f"{error.brief}: {error.details}"
        return fail("mirror-first", what, f"correct {DAEMON_JSON} in the VM, then {remedy}")
    daemon = seen.facts.daemon
    if daemon is not None and daemon.mirrors != written:
        used, listed = _in_words(daemon.mirrors), _in_words(written)
        what = f"dockerd uses {used}, and {DAEMON_JSON} lists {listed}"
        return fail("mirror-first", what, remedy)
    if not written or host_of(written[0]) != HOST_NAME:
        what = f"the first mirror is not {seen.mirror}: {DAEMON_JSON} lists {_in_words(written)}"
        return fail("mirror-first", what, remedy)
    if daemon is None:
        return skip("mirror-first", _NO_DAEMON)
    return ok("mirror-first", f"dockerd and {DAEMON_JSON} list {written[0]} first")


def builds(seen: Seen) -> Finding:
    """Whether BuildKit asks the mirror: before 28 it does so only when told to speak http to it."""
    daemon = seen.facts.daemon if seen.facts else None
    if seen.facts is None or daemon is None:
        return skip("builds", seen.silence or _NO_DAEMON)
    try:
        written = seen.facts.configured_mirrors()
        plain = seen.facts.configured_plain()
    except VmregError as error:
        return skip("builds", error.brief)
    if seen.mirror not in written or seen.mirror not in daemon.mirrors:
        return skip("builds", f"the mirror is not {seen.mirror}")
    if daemon.major >= PLAIN_BUILDKIT:
        return ok("builds", "BuildKit goes by the mirror's own scheme")
    return _judge_plain(seen, daemon, plain)


def proxy(seen: Seen) -> Finding:
    """Whether a proxy stands between the daemon and the mirror."""
    if seen.facts is None or seen.facts.daemon is None:
        return skip("proxy", seen.silence or _NO_DAEMON)
    daemon = seen.facts.daemon
    if not daemon.proxy:
        return ok("proxy", "dockerd asks mirrors without a proxy")
    if proxies.goes_around(daemon.no_proxy, HOST_NAME, seen.port):
        return ok("proxy", f"dockerd goes around its proxy {daemon.proxy} to {HOST_NAME}")
    reach = seen.proxy_reach
    alive = reach is not None and reach.way in {Way.ANSWERED, Way.SILENT}
    which = "the" if alive else "the dead" if reach is not None else "the unusable"
    remedy = f"{seen.provisioning}, or add {HOST_NAME} to no-proxy in {DAEMON_JSON}"
    what = f"dockerd asks the mirror through {which} proxy {daemon.proxy}"
    return fail("proxy", what, f"{remedy} and restart dockerd")


def hosts_toml(seen: Seen) -> Finding:
    """Whether a ``hosts.toml`` overrides the mirrors of the daemon."""
    if seen.facts is None:
        return skip("hosts-toml", seen.silence)
    daemon = seen.facts.daemon
    if daemon is None:
        return skip("hosts-toml", _NO_DAEMON)
    if daemon.store is Store.CLASSIC:
        return ok("hosts-toml", "the classic image store heeds no hosts.toml")
    return _judge_hosts(seen, seen.facts.hosts_path, seen.facts.hosts_text)


def disk(seen: Seen) -> Finding:
    """Whether images can be written in the VM."""
    if seen.facts is None:
        return skip("disk", seen.silence)
    found = seen.facts.disk
    full = f"vm exec {seen.name} -- docker image prune --all --force"
    if found.refusal:
        is_full = "space" in found.refusal or "quota" in found.refusal
        remedy = full if is_full else f"vm stop {seen.name}, then vm start {seen.name}"
        return fail("disk", f"nothing can be written in {found.root}: {found.refusal}", remedy)
    if found.free_bytes is None:
        return skip("disk", f"the VM does not say how much is free in {found.root}")
    free = f"{found.free_bytes / 1e6:,.0f} MB free in {found.root}"
    if found.free_bytes < LEAST_FREE_BYTES:
        return fail("disk", f"only {free}", full)
    if found.free_inodes is not None and found.free_inodes < LEAST_FREE_INODES:
        return fail("disk", f"only {found.free_inodes} files more fit in {found.root}", full)
    return ok("disk", free)


def clock(seen: Seen) -> Finding:
    """Whether the VM's clock is near enough to the host's for certificates to be valid."""
    if seen.facts is None:
        return skip("clock", seen.silence)
    if seen.facts.clock_s is None:
        return skip("clock", "the VM does not tell its time")
    skew_s = round(seen.facts.clock_s - seen.asked_at_s)
    if abs(skew_s) <= MOST_SKEW_S:
        return ok("clock", f"the VM's clock is within {max(1, abs(skew_s))} s of the host's")
    what = f"the VM's clock is {abs(skew_s)} s {'ahead of' if skew_s > 0 else 'behind'} the host's"
    remedy = f"set the clock that is wrong; in the VM: date -s @{round(seen.asked_at_s)}"
    return fail("clock", f"{what}: TLS fails", remedy)


CHECKS: tuple[Callable[[Seen], Finding], ...] = (
    runs,
    docker,
    image_store,
    cache_up,
    mirror_port,
    host_name,
    reached,
    mirror_first,
    builds,
    proxy,
    hosts_toml,
    disk,
    clock,
)


def _listed(facts: Facts) -> tuple[str, ...]:
    """Return the mirrors that the daemon uses, or those of its file while it does not answer."""
    if facts.daemon is not None:
        return facts.daemon.mirrors
    try:
        return facts.configured_mirrors()
    except VmregError:  # another check says so
        return ()


def _in_words(mirrors: tuple[str, ...]) -> str:
    return ", ".join(mirrors) or "none"


def _is_probe(body: str) -> bool:
    return store.digest_of(body.encode()) == store.probe().manifest_digest


def _why_not_tried(seen: Seen) -> str:
    if seen.facts is None:
        return seen.silence
    if seen.cache is None:
        return seen.cache_trouble
    if seen.cache.state is not State.SERVING:
        return "the cache does not serve"
    if seen.hosts and not seen.resolves:
        return f"{HOST_NAME} does not lead to this host"
    return seen.silence or "it could not be tried"


def _firewall_remedy(seen: Seen) -> str:
    if seen.rule:
        return f"vm exec {seen.name} -- iptables {seen.rule.replace('-A', '-D', 1)}"
    host = (
        f"on this host: iptables -I INPUT -p tcp --dport {seen.port} -s {_source(seen)} -j ACCEPT"
    )
    if seen.rules_unsure:
        return f"look for it in the VM: vm exec {seen.name} -- iptables -S OUTPUT; if not, {host}"
    return host


def _source(seen: Seen) -> str:
    return seen.vm.address if seen.vm is not None else "the VM"


def _not_reached(seen: Seen, reach: Reach, where: str) -> Finding:
    said = f": {reach.body}" if reach.body else ""
    if reach.way is Way.REFUSED or seen.rule:
        if not seen.rule and not set(seen.bound) & {*seen.hosts, "0.0.0.0"}:  # noqa: S104 - compared
            what = f"the cache listens on {', '.join(seen.bound)} alone"
            return fail("reach", what, "remove docker_registry.bind, then: vm registry start")
        return fail(
            "reach", f"{where} refuses the VM: a firewall rejects it", _firewall_remedy(seen)
        )
    if reach.way is Way.NO_ROUTE:
        remedy = f"vm stop {seen.name}, then vm start {seen.name}; in the VM: ip route"
        return fail("reach", f"the VM has no way to {where}{said}", remedy)
    if reach.way is Way.SILENT:
        what = f"{where} accepts the connection and answers nothing"
        return fail("reach", what, "vm registry start")
    return skip("reach", f"the way to {where} could not be tried{said}")


def _judge_plain(seen: Seen, daemon: Daemon, listed: tuple[str, ...]) -> Finding:
    around = f"the BuildKit of Docker {daemon.version} goes around an http mirror"
    if seen.mirror not in listed:
        what = f"{around} that {INSECURE} in {DAEMON_JSON} does not list as {seen.mirror}"
        return fail("builds", what, seen.provisioning)
    if urlsplit(seen.mirror).netloc not in daemon.insecure:
        what = f"{around}, and dockerd has not read {INSECURE} in {DAEMON_JSON}"
        return fail("builds", what, f"vm stop {seen.name}, then vm start {seen.name}")
    return ok("builds", "BuildKit is told to speak http to the mirror")


def _judge_hosts(seen: Seen, path: str, text: str) -> Finding:
    try:
        hosts = tomllib.loads(text).get("host", {})
    except (ValueError, RecursionError) as error:
        return ok("hosts-toml", f"dockerd passes over {path}, which is not valid TOML: {error}")
    if not isinstance(hosts, dict) or not hosts:
        return ok("hosts-toml", "no hosts.toml stands in for the mirror")
    first, values = next(iter(hosts.items()))
    remedy = f"{seen.provisioning}, or remove {path} in the VM"
    if first.rstrip("/") != seen.mirror:
        return fail("hosts-toml", f"{path} overrides the mirror: it asks {first} first", remedy)
    can = values.get("capabilities") if isinstance(values, dict) else None
    if isinstance(can, list) and any(one not in can for one in _PULLS):
        return fail("hosts-toml", f"{path} lets {first} do no more than {can}", remedy)
    return ok("hosts-toml", f"{path} asks {seen.mirror} first")
