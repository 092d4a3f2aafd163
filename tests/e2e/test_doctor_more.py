"""Faults of a VM, its cache and the examination itself that need more than one healthy VM."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.people import free_port
from vmreg import probes, serving, store, waiting
from vmreg.config import load
from vmreg.stack import Stack
from vmreg.vms import provision
from vmreg.vms.doctor import examine
from vmreg.vms.image import ensure_vm_image, release
from vmreg.vms.provider import DAEMON_JSON, VmConnection, VmSpec
from vmreg.vms.reconcile import provision as bring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider
    from vmreg.vms.findings import Finding, Report

OLD_BUILDKIT = ("20.10", "26.1")


def stack_of(
    engine: Engine, home: Path, port: int, instance: str, *, certificate: Path | None = None
) -> Stack:
    trusted = {"docker_registry.upstream.ca_file": f"{certificate}/cert.pem"} if certificate else {}
    settings = load(
        overrides={
            "docker_registry.enabled": "true",
            "docker_registry.port": str(port),
            "docker_registry.instance": instance,
            **trusted,
        },
        environment={"VM_HOME": str(home)},
        cwd=home.parent,
    )
    return Stack(engine, settings)


@pytest.fixture(scope="module")
def stack(
    engine: Engine, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    instance = f"test-{uuid.uuid4().hex[:8]}"
    made = stack_of(engine, home, free_port(), instance, certificate=certificate)
    made.start()
    yield made
    made.stop()


@contextmanager
def a_vm(
    stack: Stack, provider: DockerProvider, version: str, *, docker: bool = True, plain: bool = True
) -> Iterator[VmConnection]:
    name = f"t{uuid.uuid4().hex[:8]}"
    mirror = serving.mirror(stack.settings.registry.port)
    made = release(version)
    spec = VmSpec(
        name=name,
        image=ensure_vm_image(stack.engine, version),
        mirror=mirror,
        daemon=made.settings(mirror) if plain else made.daemon,
        docker=docker,
    )
    provider.create(spec)
    try:
        provider.wait_ready(name)
        yield VmConnection(provider=provider, name=name)
    finally:
        provider.destroy(name)


def by_id(report: Report) -> dict[str, Finding]:
    return {one.id: one for one in report.findings}


def failing(report: Report) -> dict[str, str]:
    return {one.id: one.remedy for one in report.findings if one.status == "fail"}


def images(vm: VmConnection) -> str:
    return vm.exec(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).output


@pytest.mark.parametrize("version", OLD_BUILDKIT)
def test_builds_that_go_around_the_mirror(
    stack: Stack, provider: DockerProvider, version: str
) -> None:
    mirror = serving.mirror(stack.settings.registry.port)
    with a_vm(stack, provider, version, plain=False) as vm:
        report = examine(stack, provider, vm.name)
        assert failing(report) == {"builds": f"vm provision {vm.name}"}
        assert (report.healthy, by_id(report)["pull"].status) == (False, "ok")
        settings = json.loads(provider.read_file(vm.name, DAEMON_JSON) or b"")
        provider.put_file(
            vm.name, DAEMON_JSON, json.dumps(provision.with_plain(settings, mirror)).encode()
        )
        remedy = f"vm stop {vm.name}, then vm start {vm.name}"
        assert failing(examine(stack, provider, vm.name)) == {"builds": remedy}
        provider.put_file(vm.name, DAEMON_JSON, json.dumps(settings).encode())
        bring(vm, mirror)
        assert examine(stack, provider, vm.name).healthy


def test_a_vm_that_was_made_without_docker(stack: Stack, provider: DockerProvider) -> None:
    with a_vm(stack, provider, "20.10", docker=False) as vm:
        report = examine(stack, provider, vm.name)
        assert (failing(report), report.healthy) == ({}, False)
        found = by_id(report)
        assert found["docker"].summary == "it was made without Docker"
        assert found["pull"].summary == "not tried: it was made without Docker"
        assert found["vm-runs"].status == "ok"


def test_a_daemon_that_ended_normally_is_not_blamed_on_an_older_end(
    stack: Stack, provider: DockerProvider
) -> None:
    with a_vm(stack, provider, "20.10") as vm:
        good = provider.read_file(vm.name, DAEMON_JSON) or b""
        provider.put_file(vm.name, DAEMON_JSON, b'{"no-such-key": 1}')
        vm.exec(["sh", "-c", 'kill "$(cat /run/docker.pid)"'])
        waiting.until(
            lambda: "no-such-key" in vm.daemon_log(tail=50) or None,
            what="its complaint",
            timeout_s=20,
        )
        provider.put_file(vm.name, DAEMON_JSON, good)
        provider.wait_ready(vm.name)
        vm.exec(["sh", "-c", 'kill -STOP "$(cat /run/docker.pid)"'])
        report = examine(stack, provider, vm.name)
        assert by_id(report)["docker"].summary == "no dockerd answers in the VM: no answer in 8 s"
        assert all("does not run" not in one.summary for one in report.findings), report


@pytest.mark.parametrize(
    ("rule", "undone"),
    [
        ("-d {host} -j REJECT --reject-with icmp-host-prohibited", True),
        ("-p tcp --dport 1:65535 -j DROP", True),
        ("-p tcp -m multiport --dports 1,{port} -j REJECT", True),
        ("! -o lo -p tcp -j DROP", False),
    ],
)
def test_rules_of_a_firewall_in_the_vm(
    stack: Stack, provider: DockerProvider, shared: VmConnection, rule: str, *, undone: bool
) -> None:
    values = {"host": stack.engine.bridge_gateway(), "port": stack.settings.registry.port}
    added = shared.exec(["iptables", "-A", "OUTPUT", *rule.format(**values).split()])
    assert added.exit_code == 0, added
    try:
        remedies = failing(examine(stack, provider, shared.name))
        assert set(remedies) == {"reach"}
        if undone:
            command = remedies["reach"].partition(" -- ")[2]
            assert shared.exec(command.split()).exit_code == 0
            assert examine(stack, provider, shared.name).healthy
        else:
            assert f"vm exec {shared.name} -- iptables -S OUTPUT" in remedies["reach"]
    finally:
        shared.exec(["iptables", "-F", "OUTPUT"])


@pytest.fixture(scope="module")
def shared(stack: Stack, provider: DockerProvider) -> Iterator[VmConnection]:
    with a_vm(stack, provider, "28.5") as vm:
        yield vm


def test_a_settings_file_that_is_a_folder(
    stack: Stack, provider: DockerProvider, shared: VmConnection
) -> None:
    shared.exec(["sh", "-c", f"mv {DAEMON_JSON} /root/kept; mkdir {DAEMON_JSON}"])
    try:
        found = by_id(examine(stack, provider, shared.name))["mirror-first"]
        assert (found.status, "Is a directory" in found.summary) == ("fail", True), found
    finally:
        shared.exec(["sh", "-c", f"rmdir {DAEMON_JSON}; mv /root/kept {DAEMON_JSON}"])
    assert examine(stack, provider, shared.name).healthy


def test_the_cache_of_another_home_proves_as_well_where_it_is_one_s_own(
    stack: Stack, provider: DockerProvider, shared: VmConnection, tmp_path: Path
) -> None:
    registry = stack.settings.registry
    home = tmp_path / "home"
    other = stack_of(stack.engine, home, registry.port, registry.instance)
    report = examine(other, provider, shared.name)
    assert report.healthy, report
    aside = tmp_path / "aside"
    stack.state.rename(aside)  # the cache keeps what it has open
    try:
        report = examine(other, provider, shared.name)
    finally:
        aside.rename(stack.state)
    assert (failing(report), report.healthy) == ({}, False)
    said = by_id(report)["pull"].summary
    assert said == f"not tried: the cache is that of {stack.state}"
    assert [path for path in home.rglob("*") if path.is_file()] == []


# The doctor as a program of its own, which can be killed.
DOCTOR = """
import sys, pathlib
from vmreg.engine import Engine
from vmreg.vms import proof
from vmreg.vms.docker import DockerProvider
from vmreg.vms.provider import VmConnection
owner, name, state = sys.argv[1:]
engine = Engine.connect(owner=owner)
vm = VmConnection(provider=DockerProvider(engine), name=name)
proof.pull(pathlib.Path(state), vm, name=name, architecture="amd64")
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_a_doctor_that_is_killed_leaves_no_image_in_the_vm(
    stack: Stack, engine: Engine, shared: VmConnection, sign: signal.Signals
) -> None:
    tags = store.tags_folder(stack.state / "data")
    log = stack.state / "logs" / "edge.jsonl"
    begun = log.stat().st_size
    argv = [sys.executable, "-c", DOCTOR, engine.owner, shared.name, str(stack.state)]
    with subprocess.Popen(argv) as doctor:
        waiting.until(
            lambda: b"fresh-" in log.read_bytes()[begun:] or None,
            what="its pull",
            timeout_s=20,
            interval_s=0.002,
        )
        doctor.send_signal(sign)
    assert doctor.returncode in {-sign, 128 + sign}
    if sign != signal.SIGKILL:
        assert list(tags.glob("fresh-*")) == []
    gone = 'until ! pgrep -f "[d]ocker (pull|image)"; do sleep 0.05; done'
    shared.exec(["timeout", "20", "sh", "-c", gone])
    assert images(shared) == ""
    for one in tags.glob("fresh-*"):
        probes.remove(stack.state / "data", one.name)


def test_an_old_probe_goes_with_the_next_examination(
    stack: Stack, provider: DockerProvider, shared: VmConnection
) -> None:
    name = f"docker.io/{store.PROBE_REPOSITORY}"
    old, new = f"{name}:fresh-1000000000-{'0' * 32}", probes.fresh().reference
    script = 'mkdir -p /x && tar -C /x -c . | docker import - "$1" && docker tag "$1" "$2"'
    assert shared.exec(["sh", "-c", script, "sh", old, new]).exit_code == 0
    assert examine(stack, provider, shared.name).healthy
    left = images(shared)
    shared.exec(["docker", "image", "rm", "--force", new])
    assert left.split() == [new.removeprefix("docker.io/")]
