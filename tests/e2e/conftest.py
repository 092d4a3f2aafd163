"""An engine connection of the tests' own, VMs on it, and a registry with TLS: all real."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest

from bench.hub import Hub
from tests.e2e.people import PROJECT, Person, free_port
from vmreg.engine import ContainerSpec, Engine
from vmreg.images import COMPONENTS, ensure
from vmreg.process import run
from vmreg.vms.docker import DockerProvider
from vmreg.vms.image import ensure_vm_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTRY_NAME = "hub.test"
REGISTRY_CONFIG = b"""
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000", tls: {certificate: /etc/registry-cert.pem, key: /etc/registry-key.pem}}
"""


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine.connect(owner=f"test-vms-{os.getpid()}")
    ensure_vm_image(engine)
    yield engine
    for container in engine.list():
        engine.remove(container.id)
    engine.close()


@pytest.fixture(scope="session")
def provider(engine: Engine) -> DockerProvider:
    return DockerProvider(engine)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a self-signed ``cert.pem`` for the registry and its ``key.pem``."""
    folder = tmp_path_factory.mktemp("certificate")
    run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", f"/CN={REGISTRY_NAME}", "-addext", f"subjectAltName=DNS:{REGISTRY_NAME}",
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def registry(engine: Engine, certificate: Path) -> str:
    """Return the IPv4 address of a registry that listens with TLS on port 5000."""
    made = engine.create(
        ContainerSpec(
            name=f"test-vms-{os.getpid()}-registry",
            image=ensure(engine, recipe=COMPONENTS),
            entrypoint=("docker-registry", "serve", "/etc/registry.yml"),
        )
    )
    engine.put_file(made.id, "/etc/registry.yml", REGISTRY_CONFIG)
    for name in ("cert", "key"):
        content = (certificate / f"{name}.pem").read_bytes()
        engine.put_file(made.id, f"/etc/registry-{name}.pem", content)
    engine.start(made.id)
    return engine.inspect(made.id).addresses["bridge"]


@pytest.fixture(scope="module")
def hub(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    name = f"test-hub-{uuid.uuid4().hex[:8]}"
    with Hub.start(
        engine, name=name, network=f"{name}-net", state=folder, cache=folder / "c", scale=0.02
    ) as running:
        yield running


@pytest.fixture(scope="module")
def person(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("shop")
    prefix = f"p{uuid.uuid4().hex[:8]}"
    (folder / "vm.yaml").write_text(PROJECT % prefix)
    port = free_port()
    someone = Person(
        folder=folder,
        prefix=prefix,
        port=port,
        environment={
            **{key: one for key, one in os.environ.items() if not key.startswith("VM_")},
            "VM_HOME": str(tmp_path_factory.mktemp("home")),
            "VM_REGISTRY_PORT": str(port),
            "VM_REGISTRY_INSTANCE": prefix,
            "VM_REGISTRY_UPSTREAM_NETWORK": hub.network,
            "VM_REGISTRY_UPSTREAM_CA_FILE": str(hub.ca_file),
        },
    )
    yield someone
    engine = Engine.connect(owner="vmreg")
    provider = DockerProvider(engine)
    for vm in provider.list():
        if vm.name.startswith(prefix):
            provider.destroy(vm.name)
    engine.close()
    someone.vm("registry", "stop")


@pytest.fixture
def running(person: Person) -> Person:
    person.done("registry", "start")
    return person
