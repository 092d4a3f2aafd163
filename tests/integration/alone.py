"""One part of the cache on its own: the container as planned, its folders, and no network."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg import waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmreg.containers import Container, ContainerSpec
    from vmreg.engine import Engine
    from vmreg.plan import Part


def prepare(part: Part) -> ContainerSpec:
    """Make the folders that a part mounts, and return its container without what others give it.

    No network, no port, no health check and no restart.
    """
    for mount in part.spec.mounts:
        if mount.kind == "bind":
            folder = Path(mount.source)
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # whoever it runs as
            if mount.target == "/etc/vmreg":
                for name, content in part.files.items():
                    (folder / name).write_bytes(content)
    return replace(
        part.spec,
        name=f"test-alone-{uuid.uuid4().hex[:8]}",
        network="none",
        ports=(),
        restart=False,
        health=None,
    )


@contextmanager
def running(engine: Engine, spec: ContainerSpec) -> Iterator[Container]:
    made = engine.run(spec)
    try:
        yield made
    finally:
        engine.remove(made.id)


def ended(engine: Engine, container: str) -> Container:
    """Return a container once its main process has ended."""

    def gone() -> Container | None:
        found = engine.inspect(container)
        return found if found.state == "exited" else None

    return waiting.until(
        gone,
        what=f"the end of {container}",
        timeout_s=60,
        evidence=lambda: engine.logs(container),
    )
