"""How long the ``vm`` command takes: help, a long list, and a new VM against a bare container.

Commands are run as a person runs them, as programs of their own. Creations and bare containers
take turns, so that whatever else the host does meets both.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from bench import provenance
from bench.criteria import Criterion
from bench.parallel import at_once
from bench.place import open_place, prepare
from vmreg.engine import Engine
from vmreg.process import run
from vmreg.vms.docker import (
    BOOT_PATH,
    PREFIX,
    DockerProvider,
    boot_files,
    container_spec,
)
from vmreg.vms.image import RELEASES, ensure_vm_image
from vmreg.vms.provider import DAEMON_JSON, VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.place import Place
    from bench.progress import Progress
    from bench.samples import Host

SCHEMA_VERSION = 1
VM = str(Path(sys.executable).parent / "vm")
MAKERS = 8
WAIT = "until docker version > /dev/null 2>&1; do sleep 0.1; done"
What = Literal["help", "list", "create", "bare"]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One run of one command; ``docker`` is the release that a new VM has, empty for the rest."""

    number: int
    what: What
    docker: str
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What a run saw: ``listed`` VMs were there while the list was timed."""

    commit: str
    host: Host
    listed: int
    timings: tuple[Timing, ...]


def measure(*, rounds: int, listed: int, progress: Progress) -> Handling:
    """Start a cache, time the commands, and remove everything.

    :raises VmregError: something did not start, or a command failed.
    """
    with open_place(progress, keep=False) as place:
        prepare(place.engine, progress, embedded=False)
        for release in RELEASES:
            ensure_vm_image(place.engine, release.version, progress=progress.say)
        with _home(place) as environment:
            progress.begin("new VMs", number=1, of=2)
            taken = [
                timing
                for number in range(rounds + 1)
                for release in RELEASES
                for timing in _creations(place, environment, number, release.version)
            ]
            progress.begin(f"a list of {listed} VMs", number=2, of=2)
            taken += _lists(place, environment, rounds=rounds, listed=listed)
        commit, _ = provenance.commit()
        return Handling(
            commit=commit,
            host=provenance.host(docker=place.engine.version()),
            listed=listed,
            # The first round warms the page cache.
            timings=tuple(one for one in taken if one.number),
        )


def judge(seen: Handling) -> tuple[Criterion, ...]:
    """Return the criteria, from medians over the rounds."""
    listing = f"vm list with {seen.listed} VMs ends within 1 s"
    return (
        _quick(seen, "vm-help", "help", "vm --help ends within 0.15 s", 0.15),
        _quick(seen, "vm-list", "list", listing, 1.0),
        *(_creation(seen, release.version) for release in RELEASES),
    )


def to_json(seen: Handling) -> str:
    """Return the text of ``vms.json``: the timings as they were seen, and the criteria."""
    document = {
        "schema_version": SCHEMA_VERSION,
        **dataclasses.asdict(seen),
        "criteria": [dataclasses.asdict(one) for one in judge(seen)],
    }
    return json.dumps(document, indent=1) + "\n"


def _of(seen: Handling, what: What, docker: str = "") -> list[float]:
    return [one.elapsed_s for one in seen.timings if (one.what, one.docker) == (what, docker)]


def _quick(seen: Handling, name: str, what: What, title: str, threshold: float) -> Criterion:
    times = _of(seen, what)
    criterion = Criterion(
        id=name,
        title=title,
        status="skip",
        measured=None,
        threshold=threshold,
        unit="seconds",
        evidence="",
    )
    evidence = f"median of {len(times)} runs, the slowest {max(times):.3f} s"
    measured = median(times)
    return criterion.judged(measured=measured, passed=measured <= threshold, evidence=evidence)


def _creation(seen: Handling, docker: str) -> Criterion:
    ours, bare = _of(seen, "create", docker), _of(seen, "bare", docker)
    measured = median(mine - its for mine, its in zip(ours, bare, strict=True))
    return Criterion(
        id=f"vm-create-{docker}",
        title=f"vm create with Docker {docker} takes 1 s at most longer than a bare docker run",
        status="pass" if measured <= 1 else "fail",
        measured=measured,
        threshold=1.0,
        unit="seconds",
        evidence=f"median of {len(ours)} pairs, until dockerd answers: "
        f"{median(ours):.2f} s against {median(bare):.2f} s",
    )


@contextmanager
def _home(place: Place) -> Iterator[Mapping[str, str]]:
    """Yield the environment of a user who has a cache that runs and VMs of one beginning."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{key: one for key, one in os.environ.items() if not key.startswith("VM_")},
        "VM_HOME": str(place.folder / "home"),
        "VM_REGISTRY_ENABLED": "true",
        "VM_REGISTRY_PORT": str(port),
        "VM_REGISTRY_INSTANCE": place.name,
    }
    try:
        run([VM, "registry", "start"], environment=environment)
        yield environment
    finally:
        _remove_all(place.name)
        run([VM, "registry", "stop"], environment=environment, check=False)


def _remove_all(prefix: str) -> None:
    engine = Engine.connect(owner="vmreg")
    provider = DockerProvider(engine)
    ours = [vm.name for vm in provider.list() if vm.name.startswith(prefix)]
    at_once([partial(provider.destroy, name) for name in ours], name="destroy")
    engine.close()


def _timed(
    argv: list[str], environment: Mapping[str, str], *, number: int, what: What, docker: str = ""
) -> Timing:
    began = time.monotonic()
    run(argv, environment=environment)
    return Timing(number=number, what=what, docker=docker, elapsed_s=time.monotonic() - began)


def _creations(
    place: Place, environment: Mapping[str, str], number: int, docker: str
) -> Iterator[Timing]:
    """Yield the time of a new VM and of a bare container, the other one first in each round."""
    name = f"{place.name}-new"

    def create() -> Timing:
        argv = [VM, "create", name, "--docker", docker]
        timing = _timed(argv, environment, number=number, what="create", docker=docker)
        _remove_all(name)
        return timing

    def bare() -> Timing:
        began = time.monotonic()
        run(_docker_run(place, docker, name))
        run(["docker", "exec", PREFIX + name, "sh", "-c", WAIT])
        elapsed_s = time.monotonic() - began
        run(["docker", "rm", "--force", "--volumes", PREFIX + name])
        return Timing(number=number, what="bare", docker=docker, elapsed_s=elapsed_s)

    for take in (create, bare) if number % 2 else (bare, create):
        yield take()


def _docker_run(place: Place, docker: str, name: str) -> list[str]:
    """Return the command that a person would type to have the same container."""
    release = next(one for one in RELEASES if one.version == docker)
    spec = VmSpec(name=name, daemon=release.daemon)
    container = container_spec(spec, image=release.recipe.reference)
    files = {path: content for path, (content, _) in boot_files(spec).items()}
    for number, content in enumerate(files.values()):
        (place.folder / f"boot-{number}").write_bytes(content)
    assert set(files) == {BOOT_PATH, DAEMON_JSON}  # noqa: S101 - a new file would have to be mounted
    return [
        *("docker", "run", "--detach", "--init", "--name", container.name, "--cap-drop", "ALL"),
        *(f"--cap-add={one}" for one in container.cap_add),
        *(f"--security-opt={one}" for one in container.security_opt),
        *(f"--add-host={host}:{to}" for host, to in container.extra_hosts.items()),
        *(
            f"--volume={place.folder / f'boot-{number}'}:{path}"
            for number, path in enumerate(files)
        ),
        *("--volume", "/var/lib/docker", "--tmpfs", "/run", "--entrypoint", "/bin/sh"),
        *(container.image, BOOT_PATH),
    ]


def _lists(
    place: Place, environment: Mapping[str, str], *, rounds: int, listed: int
) -> Iterator[Timing]:
    """Yield the times of help and of the list, with so many VMs there, none with a Docker."""
    engine = Engine.connect(owner="vmreg")
    provider = DockerProvider(engine)
    image = ensure_vm_image(engine)
    specs = [
        VmSpec(name=f"{place.name}-{number:03}", image=image, docker=False)
        for number in range(listed)
    ]
    for start in range(0, listed, MAKERS):
        at_once([partial(provider.create, one) for one in specs[start : start + MAKERS]], name="vm")
    engine.close()
    for number in range(rounds + 1):
        yield _timed([VM, "--help"], environment, number=number, what="help")
        yield _timed([VM, "list"], environment, number=number, what="list")
