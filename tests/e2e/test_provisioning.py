"""A VM's mirror: used from the first pull, set and removed alive, and refused without harm."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from vmreg.errors import VmregError
from vmreg.vms import provision, reconcile, survey
from vmreg.vms.provider import DAEMON_JSON, VmConnection, VmSpec
from vmreg.vms.pulling import pull, repo_digests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmreg.vms.docker import DockerProvider

NAME = f"t{os.getpid()}-mirror"
HUB = "hub.test:5000"
MIRROR = f"https://{HUB}"
PUBLISH = f"""
set -e
head -c 3000000 /dev/urandom > /root/payload
tar -c -C /root payload | docker import - {HUB}/library/tiny:1
docker push {HUB}/library/tiny:1
docker image rm {HUB}/library/tiny:1
"""


@pytest.fixture
def vm(provider: DockerProvider, registry: str, certificate: Path) -> Iterator[VmConnection]:
    """Return a VM that trusts the registry's certificate and has no mirror yet."""
    ca_pem = (certificate / "cert.pem").read_bytes()
    spec = VmSpec(
        name=NAME, ca_pem=ca_pem, extra_hosts={"hub.test": registry}, daemon={"debug": True}
    )
    provider.create(spec)
    try:
        provider.wait_ready(NAME)
        yield VmConnection(provider=provider, name=NAME)
    finally:
        provider.destroy(NAME)


def bring(vm: VmConnection, mirror: str | None) -> tuple[str, ...]:
    return reconcile.provision(vm, mirror, known=("hub.test",))


def settings(vm: VmConnection) -> object:
    return json.loads(vm.exec(["cat", DAEMON_JSON]).output)


def daemon_pid(vm: VmConnection) -> str:
    return vm.exec(["cat", "/run/docker.pid"]).output


def folder(vm: VmConnection) -> list[str]:
    return vm.exec(["ls", "-A", "/etc/docker"]).output.split()


def publish(vm: VmConnection) -> None:
    done = vm.exec(["sh", "-c", PUBLISH])
    assert done.exit_code == 0, done


def test_a_pull_goes_through_the_mirror_from_the_first_one_on(
    provider: DockerProvider, registry: str, certificate: Path, vm: VmConnection
) -> None:
    publish(vm)
    name = f"{NAME}-first"
    ca_pem = (certificate / "cert.pem").read_bytes()
    provider.create(
        VmSpec(name=name, mirror=MIRROR, ca_pem=ca_pem, extra_hosts={"hub.test": registry})
    )
    provider.wait_ready(name)
    before = provider.received(name)

    pulled = pull(provider, name, "tiny:1")

    assert pulled.digest.startswith("sha256:")
    assert pulled.image_id.startswith("sha256:")
    assert pulled.image_id != pulled.digest
    assert pulled.seconds > 0
    assert repo_digests(provider, name, "tiny:1") == (f"tiny@{pulled.digest}",)
    # The random payload cannot be compressed.
    assert provider.received(name).rx_bytes - before.rx_bytes > 3_000_000
    provider.destroy(name)


def test_a_failed_pull_carries_dockerds_message(provider: DockerProvider, vm: VmConnection) -> None:
    with pytest.raises(VmregError, match=r"cannot pull hub\.test:5000/no/such") as caught:
        pull(provider, vm.name, f"{HUB}/no/such:1")

    assert "manifest unknown" in caught.value.details
    with pytest.raises(VmregError, match="has no tiny:9"):
        repo_digests(provider, vm.name, "tiny:9")


def test_a_mirror_is_set_and_removed_on_a_running_dockerd(
    provider: DockerProvider, vm: VmConnection
) -> None:
    publish(vm)
    original = settings(vm)

    assert bring(vm, MIRROR)[0] == f"dockerd pulls through {MIRROR}"
    assert bring(vm, MIRROR) == ()
    assert provision.active_mirrors(vm) == (MIRROR,)
    assert isinstance(original, dict)
    assert settings(vm) == {**original, "registry-mirrors": [MIRROR]}
    assert pull(provider, vm.name, "tiny:1").digest

    assert bring(vm, None)[0] == "dockerd does without the cache"
    assert bring(vm, None) == ()
    assert provision.active_mirrors(vm) == ()
    assert settings(vm) == original
    assert folder(vm) == ["daemon.json", "key.json"]


def test_mirrors_of_the_users_stay_behind_ours_also_one_that_is_there_twice(
    vm: VmConnection,
) -> None:
    users = {"registry-mirrors": ["http://mirror.example:1", "http://mirror.example:1"]}
    vm.put_file(DAEMON_JSON, json.dumps(users).encode())
    vm.exec(["sh", "-c", "kill -HUP $(cat /run/docker.pid); sleep 1"])

    assert bring(vm, None) == ()
    bring(vm, MIRROR)
    assert provision.active_mirrors(vm) == (MIRROR, "http://mirror.example:1")
    assert bring(vm, MIRROR) == ()

    bring(vm, None)
    assert provision.active_mirrors(vm) == ("http://mirror.example:1",)
    assert settings(vm) == users


def test_a_file_that_is_right_but_not_loaded_is_loaded(vm: VmConnection) -> None:
    vm.put_file(DAEMON_JSON, json.dumps({"registry-mirrors": [MIRROR]}).encode())

    assert bring(vm, MIRROR) != ()
    assert provision.active_mirrors(vm) == (MIRROR,)


def test_without_a_file_one_is_made(vm: VmConnection) -> None:
    vm.exec(["rm", DAEMON_JSON])

    bring(vm, MIRROR)

    assert settings(vm) == {"registry-mirrors": [MIRROR]}


def test_when_dockerd_refuses_the_old_file_is_back_and_dockerd_alive(vm: VmConnection) -> None:
    # A running dockerd has not read this yet, and will not take it.
    refused = b'{"no-such-key": 1}\n'
    vm.put_file(DAEMON_JSON, refused, mode=0o600)
    pid = daemon_pid(vm)

    with pytest.raises(VmregError, match="did not take its new") as caught:
        bring(vm, MIRROR)

    assert "no-such-key" in caught.value.details
    assert vm.exec(["cat", DAEMON_JSON]).output.encode() == refused
    assert vm.exec(["stat", "-c", "%a %U", DAEMON_JSON]).output == "600 root\n"
    assert daemon_pid(vm) == pid
    assert provision.active_mirrors(vm) == ()
    assert folder(vm) == ["daemon.json", "key.json"]


def test_a_file_that_is_not_json_is_left_as_it_is(vm: VmConnection) -> None:
    broken = b'{"debug": tru}'
    vm.put_file(DAEMON_JSON, broken)

    with pytest.raises(VmregError, match="is not valid JSON"):
        bring(vm, MIRROR)

    assert vm.exec(["cat", DAEMON_JSON]).output.encode() == broken


def test_a_file_behind_a_link_is_changed_where_it_lies(vm: VmConnection) -> None:
    link = f"mv {DAEMON_JSON} /srv/ && ln -s /srv/daemon.json {DAEMON_JSON}"
    assert vm.exec(["sh", "-c", link]).exit_code == 0

    bring(vm, MIRROR)

    assert vm.exec(["readlink", DAEMON_JSON]).output == "/srv/daemon.json\n"
    assert MIRROR in vm.exec(["cat", "/srv/daemon.json"]).output


def test_a_dockerd_that_is_down_is_reported_and_nothing_written(vm: VmConnection) -> None:
    original = settings(vm)
    vm.exec(["sh", "-c", "rm /run/docker.pid"])

    with pytest.raises(VmregError, match="dockerd is not running"):
        bring(vm, MIRROR)

    assert settings(vm) == original


def test_a_dockerd_that_died_of_its_file_is_no_vm_without_docker(vm: VmConnection) -> None:
    broken = "echo '{\"no-such-key\": 1}' > /etc/docker/daemon.json; kill $(cat /run/docker.pid)"
    vm.exec(["sh", "-c", f"{broken}; until [ ! -S /run/docker.sock ]; do sleep 0.1; done; sleep 2"])

    with pytest.raises(VmregError, match="dockerd does not run") as caught:
        bring(vm, MIRROR)

    assert "no-such-key" in caught.value.details
    assert DAEMON_JSON in caught.value.resolution


@pytest.mark.parametrize("path", [DAEMON_JSON, survey.CONTAINERD_HOSTS])
def test_a_folder_in_the_place_of_a_file_is_named_and_left_alone(
    vm: VmConnection, path: str
) -> None:
    vm.exec(["sh", "-c", f"rm -f {path}; mkdir -p {path}"])

    with pytest.raises(VmregError, match=f"{path} in the VM is not a file"):
        bring(vm, MIRROR)

    assert vm.exec(["ls", "-A", path]).output == ""
    assert provision.active_mirrors(vm) == ()


def test_a_file_that_is_too_large_is_named_and_left_alone(vm: VmConnection) -> None:
    large = json.dumps({"labels": [f"number={one}" for one in range(10_000)]}).encode()
    vm.put_file(DAEMON_JSON, large)

    with pytest.raises(VmregError, match=f"{DAEMON_JSON} in the VM is too large"):
        bring(vm, MIRROR)

    assert vm.exec(["cat", DAEMON_JSON]).output.encode() == large
    assert folder(vm) == ["daemon.json", "key.json"]
