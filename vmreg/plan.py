"""Pure: settings and facts about the host in, configuration files and containers out.

Nothing here touches the disk or the engine; :mod:`vmreg.stack` acts on what this computes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vmreg import store, templates
from vmreg.engine import ContainerSpec, HealthCheck, Mount, PublishedPort

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vmreg.config import Settings

CONFIG_LABEL = "vmreg.config"
INSTANCE_LABEL = "vmreg.instance"
STATE_LABEL = "vmreg.state"
ROLE_LABEL = "vmreg.role"
EDGE_PORT = 5000
NAME_PATTERN = "[a-z0-9][a-z0-9._/-]*"
SLICE = "768k"
DRAIN_S = 20
QUIT_S = 3
MIN_FREE_BYTES = 1_000_000_000
LOG_BYTES = 100_000_000
HTTPS_PORT = 443
STATE_FOLDERS = ("config", "data", "fetch", "logs", "run")


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What the plan has to know about the machine.

    :param addresses: IPv4 addresses that the edge is published on.
    :param clients: subnets that clients come from, as the edge sees them.
    :param inside: subnet of the network between storage and egress.
    :param owner: user and group id that the containers run as.
    :param ca_pem: the upstream's own CA certificates, empty for the image's.
    :param password: the hub account's password, empty without credentials.
    """

    addresses: tuple[str, ...]
    clients: tuple[str, ...]
    inside: str
    owner: tuple[int, int]
    ca_pem: bytes = b""
    password: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the containers: its files and its specification.

    :param files: file name to content, mounted at ``/etc/vmreg``.
    :param digest: changes with anything that makes the container another one.
    """

    role: str
    files: Mapping[str, bytes]
    spec: ContainerSpec
    digest: str


@dataclass(frozen=True, kw_only=True)
class Images:
    """References of the component images, present on the engine."""

    proxy: str
    storage: str


@dataclass(frozen=True, kw_only=True)
class Relay:
    """An upstream host that connections are kept open to."""

    name: str
    port: int

    @property
    def authority(self) -> str:
        """The host as it stands in a URL with the default port."""
        return self.name


def labels(settings: Settings) -> dict[str, str]:
    """Return what tells this cache's containers and networks from those of every other cache."""
    return {INSTANCE_LABEL: settings.registry.instance, STATE_LABEL: str(settings.state_dir)}


def parts(settings: Settings, facts: HostFacts, images: Images) -> tuple[Part, Part]:
    """Return the proxy and the storage as they should be."""
    return proxy(settings, facts, images.proxy), storage(settings, facts, images.storage)


def proxy(settings: Settings, facts: HostFacts, image: str) -> Part:
    """Return the proxy: edge, egress and origin in one nginx."""
    state = settings.state_dir
    files = {
        "nginx.conf": nginx_conf(settings, facts).encode(),
        **_scripts("proxy.sh", "health.sh"),
    }
    if facts.ca_pem:
        files["upstream-ca.pem"] = facts.ca_pem
    spec = _spec(
        settings,
        facts,
        name=settings.proxy_name,
        image=image,
        command=("sh", "/etc/vmreg/proxy.sh"),
        health_url=f"http://127.0.0.1:{EDGE_PORT}/_health",
        mounts=(
            Mount(target="/data", source=str(state / "data"), read_only=True),
            Mount(target="/fetch", source=str(state / "fetch")),
            Mount(target="/logs", source=str(state / "logs")),
            Mount(target="/run/vmreg", source=str(state / "run")),
        ),
    )
    spec = replace(
        spec,
        network=settings.network_name,
        environment={"LOG_BYTES": str(LOG_BYTES)},
        ports=tuple(
            PublishedPort(container=EDGE_PORT, host=settings.registry.port, address=address)
            for address in facts.addresses
        ),
        stop_signal="SIGQUIT",
        stop_timeout_s=QUIT_S + 5,
    )
    return _part("proxy", state, files, spec, (settings.registry.upstream.network,))


def storage(settings: Settings, facts: HostFacts, image: str) -> Part:
    """Return the storage registry, which reaches nothing but the egress."""
    state = settings.state_dir
    credentials = settings.registry.credentials
    files = {
        "registry.yml": templates.render(
            "registry.yml.j2",
            username=credentials.username if credentials else "",
            password=facts.password,
        ).encode(),
        **_scripts("storage.sh", "health.sh"),
    }
    spec = _spec(
        settings,
        facts,
        name=settings.storage_name,
        image=image,
        command=("sh", "/etc/vmreg/storage.sh"),
        health_url="http://127.0.0.1:5002/debug/health",
        mounts=(
            Mount(target="/data", source=str(state / "data")),
            Mount(target="/fetch", source=str(state / "fetch")),
            Mount(target="/run/vmreg", source=str(state / "run")),
        ),
    )
    return _part("storage", state, files, replace(spec, network=inside_network(settings)), ())


def inside_network(settings: Settings) -> str:
    """Return the name of the network that only storage and egress are on."""
    return f"{settings.network_name}-inside"


def nginx_conf(settings: Settings, facts: HostFacts) -> str:
    """Return the text of nginx's configuration."""
    registry, upstream = settings.registry, settings.registry.upstream
    url = urlsplit(upstream.url)
    timeout_s = round(upstream.timeout.total_seconds())
    return templates.render(
        "nginx.conf.j2",
        workers="auto",
        quit_s=QUIT_S,
        resolver="127.0.0.11",
        relays=relays(settings),
        fetch_bytes=registry.fetch_size,
        min_free_bytes=MIN_FREE_BYTES,
        namespaces=_namespaces(url.netloc),
        repositories=[glob_pattern(glob) for glob in registry.repositories],
        probe_repository=store.PROBE_REPOSITORY,
        name_pattern=NAME_PATTERN,
        manifest_types=store.MANIFEST_TYPES,
        clients=facts.clients,
        inside=facts.inside,
        inside_gateway=str(ip_network(facts.inside)[1]),
        tag_freshness_s=max(1, round(registry.tag_freshness.total_seconds())),
        # Storage asks twice, and the edge once more for the reason: all within the timeout.
        patience_s=max(1, round(timeout_s * 0.4)),
        stall_s=max(2, timeout_s - 3),
        answer_s=max(3, timeout_s - 1),
        slice_bytes=SLICE,
        token_url=upstream.token_url,
        token_host=urlsplit(upstream.token_url).netloc or url.netloc,
        token_service=upstream.token_service,
        upstream_url=upstream.url.rstrip("/"),
        upstream_host=url.netloc,
        redirects=[host_pattern(host) for host in (*upstream.redirect_hosts, url.netloc)],
        ca_file="/etc/vmreg/upstream-ca.pem"
        if facts.ca_pem
        else "/etc/ssl/certs/ca-certificates.crt",
    )


def relays(settings: Settings) -> tuple[Relay, ...]:
    """Return the https hosts on the default port that are known by their full names."""
    upstream = settings.registry.upstream
    addresses = [urlsplit(url) for url in (upstream.url, upstream.token_url) if url]
    names = [url.netloc for url in addresses if url.scheme == "https"]
    names += [host for host in upstream.redirect_hosts if "*" not in host]
    return tuple(
        Relay(name=name, port=HTTPS_PORT) for name in dict.fromkeys(names) if ":" not in name
    )


def host_pattern(host: str) -> str:
    """Return a regular expression for an allowed host of redirects.

    ``*.`` at the start stands for any number of labels.

    >>> host_pattern("*.docker.com")
    '([a-z0-9-]+[.])+docker[.]com(:443)?'
    """
    name, _, port = host.lower().partition(":")
    wild = name.startswith("*.")
    labels = re.escape(name.removeprefix("*.")).replace(r"\.", "[.]").replace(r"\-", "-")
    suffix = f":{port}" if port and port != str(HTTPS_PORT) else "(:443)?"
    return ("([a-z0-9-]+[.])+" if wild else "") + labels + suffix


def glob_pattern(glob: str) -> str:
    """Return a regular expression for an allowed repository; ``*`` stays within one component.

    >>> glob_pattern("library/*")
    '^library/[^/]+$'
    """
    literal = [re.escape(piece).replace(r"\-", "-") for piece in glob.split("*")]
    return "^" + "[^/]+".join(literal) + "$"


def _namespaces(authority: str) -> tuple[str, ...]:
    """Return the names that containerd may mean this upstream by."""
    if authority == "registry-1.docker.io":
        return ("docker.io", "registry-1.docker.io", "index.docker.io")
    return (authority,)


def _scripts(*names: str) -> dict[str, bytes]:
    return {name: (templates.directory() / name).read_bytes() for name in names}


def _spec(
    settings: Settings,
    facts: HostFacts,
    *,
    name: str,
    image: str,
    command: tuple[str, ...],
    health_url: str,
    mounts: tuple[Mount, ...],
) -> ContainerSpec:
    """Return what both containers have in common: no privilege of any kind."""
    user, group = facts.owner
    return ContainerSpec(
        name=name,
        image=image,
        entrypoint=(),
        command=command,
        user=f"{user}:{group}",
        labels=labels(settings),
        mounts=(*mounts, Mount(target="/tmp", kind="tmpfs")),  # noqa: S108 - the container's own
        cap_drop=("ALL",),
        security_opt=("no-new-privileges:true",),
        read_only=True,
        init=True,
        restart=True,
        health=HealthCheck(argv=("sh", "/etc/vmreg/health.sh", health_url)),
        pids=512,
    )


def _part(
    role: str,
    state: Path,
    files: Mapping[str, bytes],
    spec: ContainerSpec,
    further: tuple[str, ...],
) -> Part:
    """Seal a part: its digest names its folder and labels its container."""
    seal = hashlib.sha256(repr((spec, further)).encode())
    for name, content in sorted(files.items()):
        seal.update(f"\0{name}\0".encode() + content)
    digest = seal.hexdigest()[:16]
    folder = state / "config" / f"{role}-{digest}"
    sealed = replace(
        spec,
        labels={**spec.labels, ROLE_LABEL: role, CONFIG_LABEL: digest},
        mounts=(Mount(target="/etc/vmreg", source=str(folder), read_only=True), *spec.mounts),
    )
    return Part(role=role, files=files, spec=sealed, digest=digest)
