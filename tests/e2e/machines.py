"""A hub with a warm cache in front of it, and VMs of any Docker release beside them."""

from __future__ import annotations

import json
import socket
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.hub import Fault, Hub
from tests.integration.edge import Edge
from vmreg import accesslog, waiting
from vmreg.config import load
from vmreg.serving import HOST_NAME
from vmreg.stack import Stack
from vmreg.vms.image import ensure_vm_image, release
from vmreg.vms.provider import DAEMON_JSON, VmConnection, VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider

IMAGE = "busybox:1"
KEPT = "ruby:3.3"  # shares no blob with the other
USERS_KEYS = {"debug": True, "max-concurrent-downloads": 2, "labels": ["team=shop"]}
BUILD = rf"printf 'FROM {IMAGE}\nRUN echo built > /proof\n' | docker build --no-cache -t proof -"
WAYS = {
    "pull": f"docker pull {IMAGE}",
    "build": f"export DOCKER_BUILDKIT=0; {BUILD}",
    "buildkit": f"export DOCKER_BUILDKIT=1; {BUILD}",
    "run": f"docker run --rm {IMAGE} true",
}
FORGET = f"docker image rm --force proof {IMAGE}; docker builder prune --all --force"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The embedded hub and a warm cache in front of it."""

    hub: Hub
    stack: Stack

    @property
    def mirror(self) -> str:
        return f"http://{HOST_NAME}:{self.stack.settings.registry.port}"

    @property
    def log(self) -> Path:
        return self.stack.state / "logs" / "edge.jsonl"

    @contextmanager
    def hub_cut_off(self) -> Iterator[None]:
        """Let nobody get an answer from the hub."""
        self.hub.inject(Fault.BLACKHOLE)
        try:
            yield
        finally:
            self.hub.heal()

    def mark(self) -> int:
        return self.log.stat().st_size

    def served(self, since: int) -> set[str]:
        """Return what the cache gave since then."""
        records = accesslog.edge(self.log, offset=since)
        return {one.uri.partition("?")[0] for one in records if one.status == 200}

    def went_through(self, since: int) -> None:
        """Wait until the log of the cache holds a manifest and every blob of the image."""
        blobs = self.hub.images[f"library/{IMAGE}"].blobs
        wanted = {f"/v2/library/busybox/blobs/{one.digest}" for one in blobs}

        def complete() -> bool | None:
            seen = self.served(since)
            return (wanted <= seen and any("/manifests/" in uri for uri in seen)) or None

        waiting.until(
            complete,
            what="the image in the log of the cache",
            timeout_s=3,
            evidence=lambda: "\n".join(self.served(since)),
        )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A VM of one Docker release, in which a container runs."""

    version: str
    vm: VmConnection

    def done(self, script: str) -> str:
        finished = self.vm.exec(["timeout", "60", "bash", "-c", script])
        assert finished.exit_code == 0, finished
        return finished.output

    def forget(self) -> None:
        self.vm.exec(["sh", "-c", FORGET])

    def write(self, path: str, text: str) -> None:
        self.done(f"mkdir -p {path.rpartition('/')[0]}")
        self.vm.put_file(path, text.encode())

    def settings(self) -> dict[str, object]:
        parsed = json.loads(self.done(f"cat {DAEMON_JSON}"))
        assert isinstance(parsed, dict)
        return parsed

    def kept(self) -> str:
        """Return since when the container runs."""
        return self.done("docker inspect --format '{{.State.Running}} {{.State.StartedAt}}' kept")

    def files(self) -> str:
        """Return the names and content of all that provisioning may touch, daemon.json aside."""
        places = "/etc/docker/certs.d /etc/containerd /etc/buildkit /etc/containers /root/.docker"
        return self.vm.exec(
            ["sh", "-c", f"find {places} -name '*.toml' -o -name '*.conf' | sort | xargs md5sum"]
        ).output


@contextmanager
def open_site(engine: Engine, folder: Path) -> Iterator[Site]:
    """Yield a hub and a cache of the test's own."""
    name = f"test-engines-{uuid.uuid4().hex[:8]}"
    with Hub.start(
        engine,
        name=f"{name}-hub",
        network=f"{name}-net",
        state=folder,
        cache=folder / "c",
        scale=0.01,
    ) as hub:
        settings = load(
            overrides={
                "docker_registry.port": str(free_port()),
                "docker_registry.instance": name,
                "docker_registry.upstream.network": hub.network,
                "docker_registry.upstream.ca_file": str(hub.ca_file),
            },
            environment={"VM_HOME": str(folder / "home")},
            cwd=folder,
        )
        stack = Stack(engine, settings)
        try:
            stack.start()
            Edge(port=settings.registry.port).pull(f"library/{IMAGE}")
            yield Site(hub=hub, stack=stack)
        finally:
            stack.stop()


@contextmanager
def machine_of(
    version: str, engine: Engine, provider: DockerProvider, site: Site
) -> Iterator[Machine]:
    """Yield a VM without a mirror, which reaches the hub by itself."""
    name = f"engine-{uuid.uuid4().hex[:8]}"
    provider.create(
        VmSpec(
            name=name,
            image=ensure_vm_image(engine, version),
            network=site.hub.network,
            ca_pem=site.hub.ca_file.read_bytes(),
            daemon={**release(version).daemon, **USERS_KEYS},
        )
    )
    try:
        provider.wait_ready(name)
        made = Machine(version=version, vm=VmConnection(provider=provider, name=name))
        made.done(f"docker run --detach --name kept {KEPT} sleep 100000")
        yield made
    finally:
        provider.destroy(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
