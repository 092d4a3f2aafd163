"""The docker provider passes the suite in full, with each Docker that a VM can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conformance import ProviderConformance, fresh
from vmreg.vms.image import RELEASES, Release, ensure_vm_image
from vmreg.vms.provider import VmSpec

if TYPE_CHECKING:
    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider


class TestDockerProvider(ProviderConformance):
    """A container as a VM."""


@pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.version)
def test_a_vm_can_have_each_docker(
    engine: Engine, provider: DockerProvider, release: Release
) -> None:
    name = fresh("docker")
    image = ensure_vm_image(engine, release.version)
    try:
        provider.create(VmSpec(name=name, image=image, daemon=release.daemon))
        provider.wait_ready(name)
        argv = ["docker", "info", "--format", "{{.ServerVersion}} {{json .DriverStatus}}"]
        version, _, store = provider.exec(name, argv).output.partition(" ")
    finally:
        provider.destroy(name)
    assert version.startswith(f"{release.version}.")
    assert ("io.containerd.snapshotter.v1" in store) == ("features" in release.daemon)
