"""VMs with a dockerd of their own: they work, they stop, and nothing of them stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import docker
import docker.errors
import pytest

from vmreg import waiting
from vmreg.engine import ContainerSpec, Engine
from vmreg.errors import NotRunningError, VmregError
from vmreg.vms.docker import DockerProvider
from vmreg.vms.image import RELEASES
from vmreg.vms.provider import VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"t{os.getpid()}"

# A root file system of the VM's own programs, so that nothing has to be fetched.
IMPORT = """
tar -ch -C / bin/bash bin/sleep bin/cat lib/x86_64-linux-gnu/libc.so.6 \
    lib/x86_64-linux-gnu/libtinfo.so.6 lib64 | docker import - tiny:1
"""
GREETER = """
use IO::Socket::INET;
my $door = IO::Socket::INET->new(Listen => 1, LocalPort => 7000) or die "no port: $!";
open(my $sign, ">", "/run/greeter-listens");
my $guest = $door->accept;
print $guest "hello from the VM\\n";
"""
READ_GREETING = "exec 3<>/dev/tcp/10.213.0.1/7000; cat <&3"


def sh(provider: DockerProvider, vm: str, script: str) -> str:
    done = provider.exec(vm, ["sh", "-c", script])
    assert done.exit_code == 0, done
    return done.output.strip()


def volumes_of(container: str) -> list[str]:
    mounts = docker.from_env().api.inspect_container(container)["Mounts"]
    return [mount["Name"] for mount in mounts if mount["Type"] == "volume"]


@pytest.fixture(scope="module")
def vm(provider: DockerProvider) -> Iterator[str]:
    name = f"{NAME}-shared"
    provider.create(VmSpec(name=name, cpus=1.5, memory_bytes=2**30))
    provider.wait_ready(name)
    sh(provider, name, IMPORT)
    yield name
    provider.destroy(name)


def test_the_container_is_not_privileged(engine: Engine, vm: str) -> None:
    host = docker.from_env().api.inspect_container(engine.inspect(f"vm-{vm}").id)["HostConfig"]

    assert host["Privileged"] is False
    assert host["CapDrop"] == ["ALL"]
    assert not host["Binds"]
    assert host["PidMode"] == host["UTSMode"] == host["IpcMode"].removeprefix("private") == ""


def test_containers_run_in_it_with_limits_and_a_network(provider: DockerProvider, vm: str) -> None:
    sh(provider, vm, f"perl -e '{GREETER}' > /run/greeter.log 2>&1 & "
       "until [ -e /run/greeter-listens ]; do sleep 0.05; done")  # fmt: skip

    greeting = provider.exec(
        vm, ["docker", "run", "--rm", "-m", "64m", "--cpus", "0.5", "tiny:1", "/bin/bash", "-c",
             READ_GREETING])  # fmt: skip

    assert greeting.output == "hello from the VM\n", greeting


def test_its_images_are_stored_by_overlayfs(provider: DockerProvider, vm: str) -> None:
    assert sh(provider, vm, "docker info --format '{{.Driver}}'") == "overlay2"


def test_its_bridges_stay_clear_of_the_hosts_networks(provider: DockerProvider, vm: str) -> None:
    sh(provider, vm, "docker network create more")

    subnets = sh(
        provider, vm, "docker network inspect bridge more -f '{{(index .IPAM.Config 0).Subnet}}'"
    )

    assert subnets.split() == ["10.213.0.0/24", "10.213.1.0/24"]


def test_the_host_has_its_name(engine: Engine, provider: DockerProvider, vm: str) -> None:
    resolved = sh(provider, vm, "getent hosts host.docker.internal")

    assert resolved.split() == [engine.bridge_gateway(), "host.docker.internal"]


def test_its_limits_are_the_given_ones(engine: Engine, vm: str) -> None:
    host = docker.from_env().api.inspect_container(engine.inspect(f"vm-{vm}").id)["HostConfig"]

    assert (host["NanoCpus"], host["Memory"]) == (1_500_000_000, 2**30)


def test_what_belongs_to_the_host_stays_read_only(provider: DockerProvider, vm: str) -> None:
    done = provider.exec(vm, ["sh", "-c", "echo x > /proc/sys/kernel/core_pattern"])

    assert done.exit_code != 0
    assert "Read-only file system" in done.errors


def test_a_dockerd_that_dies_is_started_again(provider: DockerProvider, vm: str) -> None:
    before = sh(provider, vm, "cat /run/docker.pid")

    sh(provider, vm, f"kill -KILL {before}; while kill -0 {before} 2> /dev/null; do :; done")
    provider.wait_ready(vm)

    assert sh(provider, vm, "cat /run/docker.pid") != before
    assert sh(provider, vm, "docker run --rm tiny:1 /bin/bash -c 'echo fine'") == "fine"
    assert "dockerd ended with status 137" in provider.daemon_log(vm, tail=1000)


def test_orphans_are_reaped(provider: DockerProvider, vm: str) -> None:
    orphan = sh(provider, vm, "sh -c 'sleep 0.2 > /dev/null & echo $!'")

    waiting.until(
        lambda: provider.exec(vm, ["test", "!", "-e", f"/proc/{orphan}"]).exit_code == 0 or None,
        what="the end of the orphan, dead and buried",
        timeout_s=20,
    )


def test_counters_grow_with_what_is_received(provider: DockerProvider, vm: str) -> None:
    before = provider.received(vm)
    sh(provider, vm, "getent hosts no-such-host.invalid || :")
    after = provider.received(vm)

    assert after.rx_bytes > before.rx_bytes > 0
    assert after.rx_packets > before.rx_packets > 0


def test_it_stops_by_itself_and_comes_back_with_its_images(
    engine: Engine, provider: DockerProvider
) -> None:
    name = f"{NAME}-again"
    provider.create(VmSpec(name=name))
    provider.wait_ready(name)
    sh(provider, name, IMPORT)
    # A first process that ignores SIGTERM, as sleep does: dockerd has to kill it.
    sh(provider, name, "docker run -d --stop-timeout 1 tiny:1 /bin/sleep 1000")

    provider.stop(name)
    provider.stop(name)

    # 137 would mean that the engine lost patience and killed it.
    assert engine.inspect(f"vm-{name}").exit_code == 0
    with pytest.raises(NotRunningError, match="is not running"):
        provider.exec(name, ["true"])
    assert provider.start(name).running
    provider.wait_ready(name)
    assert sh(provider, name, "docker run --rm tiny:1 /bin/bash -c 'echo fine'") == "fine"
    provider.destroy(name)


def test_destroying_leaves_neither_container_nor_volume(provider: DockerProvider) -> None:
    made = provider.create(VmSpec(name=f"{NAME}-gone"))
    volumes = volumes_of(made.instance)
    assert len(volumes) == 1
    assert made.name in [one.name for one in provider.list()]

    provider.destroy(made.name)
    provider.destroy(made.name)

    assert made.name not in [one.name for one in provider.list()]
    with pytest.raises(docker.errors.NotFound):
        docker.from_env().volumes.get(volumes[0])
    with pytest.raises(NotRunningError, match=f"there is no VM {made.name}"):
        provider.address(made.name)


def test_a_taken_name_is_refused_and_its_vm_left_alone(provider: DockerProvider, vm: str) -> None:
    with pytest.raises(VmregError, match=r"a VM of that name exists \(running\)") as caught:
        provider.create(VmSpec(name=vm))

    assert caught.value.resolution
    assert sh(provider, vm, "echo fine") == "fine"


def test_other_peoples_containers_are_not_vms(engine: Engine, provider: DockerProvider) -> None:
    name = f"{NAME}-other"
    engine.create(
        ContainerSpec(name=f"vm-{name}", image=RELEASES[0].recipe.reference, command=("true",))
    )

    assert name not in [one.name for one in provider.list()]
    with pytest.raises(NotRunningError):
        provider.stop(name)
    with pytest.raises(VmregError, match="which is not ours"):
        provider.create(VmSpec(name=name))
    provider.destroy(name)
    assert engine.find(f"vm-{name}") is not None
    engine.remove(f"vm-{name}")


def test_a_vm_of_another_owner_is_out_of_reach(provider: DockerProvider, vm: str) -> None:
    stranger = DockerProvider(Engine.connect(owner=f"{NAME}-stranger"))

    stranger.destroy(vm)

    assert stranger.list() == ()
    assert provider.address(vm)


def test_a_dockerd_that_never_answers_is_reported_with_its_log(provider: DockerProvider) -> None:
    name = f"{NAME}-broken"
    provider.create(VmSpec(name=name, daemon={"no-such-key": True}))

    with pytest.raises(VmregError, match="did not answer within 2 s") as caught:
        provider.wait_ready(name, timeout_s=2)

    assert "no-such-key" in caught.value.details
    provider.destroy(name)


def test_a_vm_that_cannot_start_leaves_nothing(engine: Engine, provider: DockerProvider) -> None:
    name = f"{NAME}-nowhere"

    with pytest.raises(VmregError, match="no-such-network"):
        provider.create(VmSpec(name=name, network="no-such-network"))

    assert engine.find(f"vm-{name}") is None
