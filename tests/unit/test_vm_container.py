"""The container that a VM is made of: as little privilege as dockerd can do with."""

from __future__ import annotations

import json

from vmreg.vms import docker
from vmreg.vms.provider import DAEMON_JSON, VmSpec


def test_the_capabilities_are_listed_and_everything_else_is_dropped() -> None:
    container = docker.container_spec(VmSpec(name="one"), image="vm:1")

    assert container.cap_drop == ("ALL",)
    assert len(container.cap_add) == len(set(container.cap_add)) == 16
    assert not {"ALL", "SYS_RESOURCE", "SYS_MODULE", "SYS_RAWIO", "SYS_TIME", "SYS_BOOT"} & set(
        container.cap_add
    )
    assert not container.unmask_system_paths


def test_the_host_is_reachable_by_name_and_a_given_address_wins() -> None:
    plain = docker.container_spec(VmSpec(name="one", extra_hosts={"hub": "10.0.0.1"}), image="vm:1")
    moved = docker.container_spec(
        VmSpec(name="one", extra_hosts={"host.docker.internal": "10.0.0.2"}), image="vm:1"
    )

    assert plain.extra_hosts == {"host.docker.internal": "host-gateway", "hub": "10.0.0.1"}
    assert moved.extra_hosts == {"host.docker.internal": "10.0.0.2"}


def test_limits_and_labels_reach_the_container() -> None:
    spec = VmSpec(name="one", cpus=1.5, memory_bytes=2**30, labels={"run": "7"}, network="net")

    container = docker.container_spec(spec, image="vm:1")

    assert (container.name, container.cpus, container.memory_bytes) == ("vm-one", 1.5, 2**30)
    assert container.network == "net"
    assert container.labels == {"run": "7", "vmreg.vm": "one", "vmreg.vm.network": "net"}


def test_the_boot_files_carry_the_mirror_and_the_certificate() -> None:
    files = docker.boot_files(VmSpec(name="one", mirror="http://h:1", ca_pem=b"PEM"))

    content, mode = files[DAEMON_JSON]
    assert json.loads(content)["registry-mirrors"] == ["http://h:1"]
    assert mode == 0o644
    # Without its last newline the next certificate in the bundle could not be read.
    assert files[docker.CERTIFICATE_PATH] == (b"PEM\n", 0o644)
    assert files[docker.BOOT_PATH][0].startswith(b"#!/bin/sh\n")


def test_without_a_certificate_none_is_written() -> None:
    assert docker.CERTIFICATE_PATH not in docker.boot_files(VmSpec(name="one"))
