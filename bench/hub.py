"""The embedded hub: a stand-in for Docker Hub, made of real parts, in one container.

Members of its network reach it under Docker Hub's own host names. It has its own certificate
authority, asks for bearer tokens, redirects blobs to a CDN host, counts manifest requests against
a quota, keeps a log of every byte, and misbehaves on demand.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench import hublog
from bench.hubclient import HubClient
from bench.hubd.options import (
    AUTHORITY,
    CACHE,
    FOREIGN_HOST,
    HUB_HOSTS,
    LOG_FILE,
    OPTIONS_FILE,
    STATE,
    Fault,
    Options,
)
from bench.hubimages import HubBlob, HubImage, read_images
from bench.hublog import HubRequest, HubTotals, Mark
from vmreg import images, waiting
from vmreg.engine import Container, ContainerSpec, Engine, Mount
from vmreg.errors import VmregError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

__all__ = [
    "FOREIGN_HOST",
    "HUB_HOSTS",
    "Fault",
    "Hub",
    "HubBlob",
    "HubImage",
    "HubRequest",
    "HubTotals",
    "Mark",
]

RECIPE = images.Recipe(
    name="hub",
    suite="trixie",
    packages=(
        "nginx-light",
        "docker-registry",
        "python3",
        "openssl",
        "iproute2",
        "nftables",
        "busybox-static",
    ),
)
CODE = "/opt/hub"
ROLE_LABEL = "vmreg.bench.hub"
CATALOGUE = "catalogue.json"
CAPABILITIES = ("NET_ADMIN", "NET_BIND_SERVICE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL",
                "SETUID", "SETGID")  # fmt: skip
SEED = 20
# Generating the images at full scale takes half a minute on a fast core.
START_TIMEOUT_S = 300
PROBE = ("library/hello-probe", "latest")


class Hub:
    """A running hub; use it as a context manager, or call :meth:`stop`."""

    def __init__(self, engine: Engine, container: Container, *, network: str, folder: Path) -> None:
        """Take charge of a running container; use :meth:`start`."""
        self._engine = engine
        self._log = folder / LOG_FILE
        self._folder = folder
        self._made_network = False
        self.name = container.name
        self.network = network
        self.address = container.addresses[network]
        self.ca_file = folder.parent / "ca.pem"
        self.images: Mapping[str, HubImage] = {}

    @classmethod
    def start(
        cls,
        engine: Engine,
        *,
        name: str = "bench-hub",
        network: str = "bench-net",
        state: Path,
        cache: Path,
        scale: float = 0.05,
        bandwidth_bytes_s: int | None = None,
        quota: int = 100_000,
        token_lifetime_s: int = 300,
        url_lifetime_s: int = 1200,
        credentials: tuple[str, str] | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start a hub and return it when it serves a manifest over TLS.

        What a killed hub of the same name left behind is removed first.

        :param network: created unless it exists, and then removed with the hub.
        :param state: keeps the certificate authority, which hubs share, and a folder per hub.
        :param cache: keeps the generated images, a folder per scale.
        :param scale: multiplies the sizes and file counts of the images' layers.
        :param bandwidth_bytes_s: cap on bodies over all connections together.
        :param quota: manifest requests that each account or address has.
        :param credentials: user name and password that may read ``acme/private``.
        :raises VmregError: it does not come up; the details carry its last lines.
        """
        image = images.ensure(engine, recipe=RECIPE, pull=False, progress=progress)
        _clear(engine, name)
        username, password = credentials or ("", "")
        folder = _fresh_folder(state, name)
        cache.mkdir(parents=True, exist_ok=True)
        Options(
            seed=SEED,
            scale=scale,
            bandwidth_bytes_s=bandwidth_bytes_s or 0,
            quota=quota,
            token_lifetime_s=token_lifetime_s,
            url_lifetime_s=url_lifetime_s,
            username=username,
            password=password,
            owner=(os.getuid(), os.getgid()),
        ).write(folder / OPTIONS_FILE)
        made_network = not engine.network_subnets(network)
        hub: Self | None = None
        try:
            engine.ensure_network(network)
            mounts = {CACHE: cache, AUTHORITY: state, STATE: folder}
            container = engine.run(_spec(name=name, network=network, image=image, mounts=mounts))
            hub = cls(engine, container, network=network, folder=folder)
            hub._await_serving(progress)
        except BaseException:
            engine.remove(name)
            if made_network:
                engine.remove_network(network)
            raise
        hub._made_network = made_network
        return hub

    def __enter__(self) -> Self:
        """Return the hub itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the hub."""
        self.stop()

    def client(self, *, timeout_s: float = 10) -> HubClient:
        """Return an HTTP client that reaches the hub from the host under its own names."""
        return HubClient(address=self.address, ca_file=self.ca_file, timeout_s=timeout_s)

    def mark(self) -> Mark:
        """Return the end of the access log after it has come to rest, 0.3 s at most."""
        return hublog.end(self._log)

    def requests(self, since: Mark | None = None) -> Iterator[HubRequest]:
        """Yield the requests that ended after a mark, in the order in which they ended.

        A request is in the log a moment after its client has the last byte.
        """
        return hublog.read(self._log, since)

    def totals(self, since: Mark | None = None) -> HubTotals:
        """Add up the requests that ended after a mark, once the log has come to rest."""
        hublog.end(self._log)
        return hublog.total(self.requests(since))

    def set_bandwidth(self, bytes_s: int | None) -> None:
        """Cap the body bytes per second of all connections together; ``None`` lifts the cap."""
        self._command(bandwidth_bytes_s=bytes_s or 0)

    def inject(self, fault: Fault) -> None:
        """Turn a fault on, in place of the one that is on; open connections are affected too."""
        self._command(fault=fault.value)

    def heal(self) -> None:
        """Turn the fault off; a second call is harmless. Moved tags stay where they are."""
        self.inject(Fault.NONE)

    def move_tag(self, source: str, target: str) -> None:
        """Let the tag ``source`` name the image of ``target``; to itself puts it back.

        :param source: repository and tag, such as ``library/node:20``.
        :raises VmregError: there is no such target.
        """
        self._command(move=[source, target])

    def stop(self) -> None:
        """Remove the container, and the network when the hub made it; a second call is harmless."""
        self._engine.remove(self.name)
        if self._made_network:
            self._engine.remove_network(self.network)

    def _command(self, **command: Any) -> None:  # noqa: ANN401 - any JSON value
        argv = ("python3", "-I", "-S", f"{CODE}/bench/hubd/control.py", json.dumps(command))
        done = self._engine.exec(self.name, argv)
        answer = json.loads(done.output) if done.exit_code == 0 else {"error": done.errors}
        if "error" in answer:
            raise VmregError(brief=f"{self.name} did not obey {command}", details=answer["error"])

    def _await_serving(self, progress: Callable[[str], None]) -> None:
        last = ""

        def serves() -> Mapping[str, HubImage] | None:
            nonlocal last
            if not self._engine.inspect(self.name).running:
                raise VmregError(
                    brief=f"{self.name} ended before it served",
                    details=self._engine.logs(self.name),
                )
            said = self._engine.logs(self.name, tail=1)
            if said != last:
                progress(said)
                last = said
            if not (self._folder / CATALOGUE).exists() or not self._answers():
                return None
            return read_images(self._folder / CATALOGUE)

        self.images = waiting.until(
            serves,
            what=f"the start of {self.name}",
            timeout_s=START_TIMEOUT_S,
            evidence=lambda: self._engine.logs(self.name),
        )

    def _answers(self) -> bool:
        try:
            return self.client(timeout_s=2).manifest(*PROBE, method="HEAD").status == hublog.OK
        except OSError:
            return False


def _fresh_folder(state: Path, name: str) -> Path:
    """Return the hub's own folder, emptied, with an empty log in it."""
    folder = state.resolve() / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / LOG_FILE).touch()
    return folder


def _clear(engine: Engine, name: str) -> None:
    """Remove what a hub of a dead process left.

    :raises VmregError: the name belongs to a living process, or to something else.
    """
    found = engine.find(name)
    if found is None:
        return
    process = found.labels.get(ROLE_LABEL, "")
    if not process or Path("/proc", process).exists():
        raise VmregError(
            brief=f"a container called {name} is there already",
            details=f"started by process {process}" if process else "it is not an embedded hub",
            resolution=f"Wait for it to end, or remove it: docker rm --force {name}",
        )
    engine.remove(name)


def _spec(*, name: str, network: str, image: str, mounts: Mapping[str, Path]) -> ContainerSpec:
    source = Path(__file__).resolve().parent.parent
    code = [
        Mount(target=f"{CODE}/{package}", source=str(source / package), read_only=True)
        for package in ("bench", "vmreg")
    ]
    return ContainerSpec(
        name=name,
        image=image,
        command=("python3", "-m", "bench.hubd.entry"),
        environment={"PYTHONPATH": CODE, "PYTHONDONTWRITEBYTECODE": "1"},
        labels={ROLE_LABEL: str(os.getpid())},
        network=network,
        aliases=(*HUB_HOSTS, FOREIGN_HOST),
        mounts=(
            *code,
            *(Mount(target=at, source=str(path.resolve())) for at, path in mounts.items()),
        ),
        cap_drop=("ALL",),
        cap_add=CAPABILITIES,
        security_opt=("no-new-privileges",),
    )
