from __future__ import annotations

import shutil
import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from bench.hub import Hub
from tests.integration.edge import Edge
from vmreg.config import load
from vmreg.engine import Engine
from vmreg.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ACCOUNT = ("ann", "it's a secret")
SCALE = 0.02  # node:20 is 8 MB then, with layers of one slice and of several


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A running cache of the test's own, in front of the embedded hub."""

    stack: Stack
    edge: Edge

    def log(self, name: str) -> Path:
        return self.stack.state / "logs" / name

    def forget(self) -> None:
        """Empty the cache: data, fetched slices, known tags."""
        self.stack.stop()
        for folder in ("data", "fetch", "logs"):
            shutil.rmtree(self.stack.state / folder)
        self.stack.start()


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    connection = Engine.connect(owner=f"test-{uuid.uuid4().hex[:8]}")
    yield connection
    for container in connection.list():
        connection.remove(container.id)
    connection.close()


@pytest.fixture(scope="session")
def hub(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    name = f"test-hub-{uuid.uuid4().hex[:8]}"
    with Hub.start(
        engine,
        name=name,
        network=f"{name}-net",
        state=folder,
        cache=folder / "c",
        scale=SCALE,
        credentials=ACCOUNT,
    ) as running:
        yield running


@pytest.fixture
def healthy_hub(hub: Hub) -> Iterator[Hub]:
    yield hub
    hub.heal()
    hub.set_bandwidth(None)
    hub.move_tag("library/node:20", "library/node:20")


@pytest.fixture
def make_registry(engine: Engine, hub: Hub, tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Make caches in front of the hub; dotted settings may be given, dots as double underscores."""
    made: list[Stack] = []

    def make(**settings: str) -> Registry:
        port = free_port()
        loaded = load(
            overrides={
                "docker_registry.port": str(port),
                "docker_registry.instance": f"test-{uuid.uuid4().hex[:8]}",
                "docker_registry.upstream.network": hub.network,
                "docker_registry.upstream.ca_file": str(hub.ca_file),
                **{
                    f"docker_registry.{name.replace('__', '.')}": value
                    for name, value in settings.items()
                },
            },
            environment={"VM_HOME": str(tmp_path / f"home{len(made)}")},
            cwd=tmp_path,
        )
        stack = Stack(engine, loaded)
        made.append(stack)
        stack.start()
        return Registry(stack=stack, edge=Edge(port=loaded.registry.port))

    yield make
    for stack in made:
        stack.stop()


@pytest.fixture
def registry(make_registry: Callable[..., Registry], healthy_hub: Hub) -> Registry:
    assert healthy_hub.images
    return make_registry()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
