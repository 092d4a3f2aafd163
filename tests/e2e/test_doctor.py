"""Every fault is put into a real VM and found by its name, and a healthy VM has none.

The cache trusts no upstream that there is, so that whatever a VM gets is the cache's own.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

import vmreg
from vmreg import serving, waiting
from vmreg.config import load
from vmreg.stack import Stack
from vmreg.vms.doctor import Report, examine
from vmreg.vms.image import ensure_vm_image, release
from vmreg.vms.provider import DAEMON_JSON, VmConnection, VmSpec
from vmreg.vms.reconcile import provision as bring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider

SCHEMA = Path(vmreg.__file__).parent / "schema" / "doctor.schema.json"
VERSIONS = ("20.10", "28.5")
NOWHERE = "http://127.0.0.1:9"

# dockerd is started again by the VM; $1 is done while there is none.
RESTART = """
was=$(cat /run/docker.pid)
kill "$was"
while kill -0 "$was" 2> /dev/null; do sleep 0.05; done
sh -c "$1" || exit
until [ -s /run/docker.pid ] && docker version > /dev/null 2>&1; do sleep 0.1; done
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def stack(
    engine: Engine, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("home")
    settings = load(
        overrides={
            "docker_registry.enabled": "true",
            "docker_registry.port": str(free_port()),
            "docker_registry.instance": f"test-{uuid.uuid4().hex[:8]}",
            "docker_registry.upstream.ca_file": str(certificate / "cert.pem"),
        },
        environment={"VM_HOME": str(home)},
        cwd=home,
    )
    made = Stack(engine, settings)
    made.start()
    yield made
    made.stop()


class Patient:
    """A VM of the tests, and the ways to make it ill."""

    def __init__(self, stack: Stack, provider: DockerProvider, name: str) -> None:
        self.stack = stack
        self.provider = provider
        self.name = name
        self.port = stack.settings.registry.port
        self.mirror = serving.mirror(self.port)
        self.vm = VmConnection(provider=provider, name=name)

    def sh(self, script: str, *words: str) -> str:
        done = self.vm.exec(["timeout", "30", "sh", "-c", script, "sh", *words])
        assert done.exit_code == 0, done
        return done.output

    def restart(self, *, meanwhile: str = ":") -> None:
        self.sh(RESTART, meanwhile)

    def examine(self, *, now: Callable[[], float] = time.time) -> Report:
        report = examine(self.stack, self.provider, self.name, now=now)
        schema = json.loads(SCHEMA.read_text())
        jsonschema.validate({"schema_version": 1, **report.to_json()}, schema)
        assert all((one.status == "fail") == bool(one.remedy) for one in report.findings), report
        if report.findings[0].status == "ok":
            said = [one.summary for one in report.findings]
            assert not any("the VM does not run" in one for one in said), said
        return report

    def fails(self) -> dict[str, str]:
        """Return the remedy of each finding that is a fault, and see that nothing was pulled."""
        report = self.examine()
        assert not report.healthy
        assert report.findings[-1].status == "skip", report
        return {one.id: one.remedy for one in report.findings if one.status == "fail"}

    @contextmanager
    def with_file(self, path: str, content: str) -> Iterator[None]:
        """Change a file in place, as a person would, and put the old one back or remove it."""
        old = self.vm.provider.read_file(self.name, path)
        self.sh('mkdir -p "${1%/*}"; printf %s "$2" > "$1"', path, content)
        try:
            yield
        finally:
            if old is None:
                self.sh('rm "$1"', path)
            else:
                self.sh('printf %s "$2" > "$1"', path, old.decode())


@pytest.fixture(scope="module")
def patients(
    engine: Engine, stack: Stack, provider: DockerProvider
) -> Iterator[dict[str, Patient]]:
    with ExitStack() as undo:
        made = {}
        for version in VERSIONS:
            name = f"t{os.getpid()}-doctor-{version}"
            patient = Patient(stack, provider, name)
            spec = VmSpec(
                name=name,
                image=ensure_vm_image(engine, version),
                mirror=patient.mirror,
                daemon=release(version).settings(patient.mirror),
            )
            provider.create(spec)
            undo.callback(provider.destroy, name)
            made[version] = patient
        for patient in made.values():
            provider.wait_ready(patient.name)
        yield made


@pytest.fixture(params=VERSIONS)
def patient(request: pytest.FixtureRequest, patients: dict[str, Patient]) -> Patient:
    return patients[request.param]


@pytest.fixture
def classic(patients: dict[str, Patient]) -> Patient:
    return patients["20.10"]


@pytest.fixture
def modern(patients: dict[str, Patient]) -> Patient:
    return patients["28.5"]


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_healthy_vm_has_no_fault_and_keeps_nothing(patient: Patient) -> None:
    before = files(patient.stack.state / "data"), files(patient.stack.state / "fetch")
    report = patient.examine()
    assert {one.status for one in report.findings} == {"ok"}, report
    assert report.healthy
    assert "came through the cache" in report.findings[-1].summary
    assert (files(patient.stack.state / "data"), files(patient.stack.state / "fetch")) == before
    assert patient.sh("docker image ls --all --quiet") == ""


def test_its_image_store_is_told(classic: Patient, modern: Patient) -> None:
    told = [
        next(one.summary for one in each.examine().findings if one.id == "image-store")
        for each in (classic, modern)
    ]
    assert ["classic" in told[0], "containerd" in told[1]] == [True, True]


def test_a_mirror_that_is_missing(patient: Patient) -> None:
    bring(patient.vm, None)
    try:
        assert patient.fails() == {"mirror-first": f"vm provision {patient.name}"}
    finally:
        bring(patient.vm, patient.mirror)


def test_a_mirror_at_another_port(patient: Patient) -> None:
    bring(patient.vm, serving.mirror(patient.port + 1))
    try:
        assert patient.fails() == {"mirror-port": f"vm provision {patient.name}"}
    finally:
        bring(patient.vm, patient.mirror)


@pytest.mark.parametrize("content", ["{}", "{"])
def test_a_file_that_the_daemon_has_not_read(patient: Patient, content: str) -> None:
    with patient.with_file(DAEMON_JSON, content):
        assert set(patient.fails()) == {"mirror-first"}


@pytest.mark.parametrize("target", ["DROP", "REJECT"])
def test_a_firewall_in_the_vm_and_its_remedy(patient: Patient, target: str) -> None:
    patient.sh('iptables -I OUTPUT -p tcp --dport "$1" -j "$2"', str(patient.port), target)
    try:
        remedies = patient.fails()
        assert set(remedies) == {"reach"}
        before, _, command = remedies["reach"].partition(" -- ")
        assert before == f"vm exec {patient.name}"
        assert patient.vm.exec(command.split()).exit_code == 0
        assert patient.sh("iptables -S OUTPUT") == "-P OUTPUT ACCEPT\n"
    finally:
        patient.sh("iptables -F OUTPUT")
    assert patient.examine().healthy


def test_a_name_that_leads_elsewhere(classic: Patient) -> None:
    hosts = classic.sh("cat /etc/hosts")
    with classic.with_file("/etc/hosts", hosts.replace("host.docker.internal", "host.other")):
        assert set(classic.fails()) == {"host-name"}
    other = hosts.replace(classic.stack.engine.bridge_gateway(), "192.0.2.1")
    with classic.with_file("/etc/hosts", other):
        assert set(classic.fails()) == {"host-name"}
    assert classic.examine().healthy


def test_a_cache_that_is_off(classic: Patient, modern: Patient) -> None:
    classic.stack.stop()
    try:
        assert classic.fails() == modern.fails() == {"cache": "vm registry start"}
        with socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stranger.bind(("0.0.0.0", classic.port))  # noqa: S104 - a stranger's habit
            stranger.listen()
            (finding,) = (one for one in classic.examine().findings if one.status == "fail")
        assert (finding.id, f"pid {os.getpid()}" in finding.summary) == ("cache", True)
    finally:
        classic.stack.start()


def test_a_daemon_behind_a_dead_proxy(modern: Patient) -> None:
    settings = json.loads(modern.sh(f"cat {DAEMON_JSON}"))
    behind = {**settings, "proxies": {"http-proxy": NOWHERE, "https-proxy": NOWHERE}}
    with modern.with_file(DAEMON_JSON, json.dumps(behind)):
        modern.restart()
        assert set(modern.fails()) == {"proxy"}
    behind["proxies"]["no-proxy"] = "localhost,host.docker.internal"
    with modern.with_file(DAEMON_JSON, json.dumps(behind)):
        modern.restart()
        assert modern.examine().healthy
    modern.restart()


def hosts_toml(host: str) -> str:
    return f"/etc/docker/certs.d/{host}/hosts.toml"


@pytest.mark.parametrize("host", ["docker.io", "_default"])
def test_a_file_that_overrides_the_mirror(modern: Patient, host: str) -> None:
    path = hosts_toml(host)
    with modern.with_file(path, f'[host."{NOWHERE}"]\ncapabilities = ["pull", "resolve"]\n'):
        assert set(modern.fails()) == {"hosts-toml"}
    with modern.with_file(path, f'[host."{modern.mirror}"]\ncapabilities = ["pull"]\n'):
        assert set(modern.fails()) == {"hosts-toml"}
    both = f'[host."{modern.mirror}"]\ncapabilities = ["pull", "resolve"]\n[host."{NOWHERE}"]\n'
    with modern.with_file(path, both):
        assert modern.examine().healthy
    modern.sh("rm -r /etc/docker/certs.d")


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("registry-1.docker.io", f'[host."{NOWHERE}"]\n'),
        ("docker.io", "host ="),
        ("docker.io", 'server = "https://registry-1.docker.io"\n'),
    ],
)
def test_a_file_that_dockerd_passes_over(modern: Patient, host: str, text: str) -> None:
    with modern.with_file(hosts_toml(host), text):
        assert modern.examine().healthy
    modern.sh("rm -r /etc/docker/certs.d")


def test_a_folder_for_docker_io_hides_the_default_one(modern: Patient) -> None:
    with modern.with_file(hosts_toml("_default"), f'[host."{NOWHERE}"]\n'):
        modern.sh("mkdir /etc/docker/certs.d/docker.io")
        assert modern.examine().healthy
    modern.sh("rm -r /etc/docker/certs.d")


def test_a_classic_store_heeds_no_such_file(classic: Patient) -> None:
    with classic.with_file(hosts_toml("docker.io"), f'[host."{NOWHERE}"]\n'):
        assert classic.examine().healthy


def test_a_full_disk(patient: Patient) -> None:
    patient.restart(meanwhile="mount -t tmpfs -o size=16m tmpfs /var/lib/docker")
    try:
        assert set(patient.fails()) == {"disk"}  # too small to hold images
        patient.sh("head -c 20M /dev/zero > /var/lib/docker/filler || :")
        report = patient.examine()
        assert [one.id for one in report.findings if one.status == "fail"] == ["disk"]
        assert "No space left" in next(one.summary for one in report.findings if one.id == "disk")
    finally:
        patient.restart(meanwhile="umount -l /var/lib/docker")


@pytest.mark.parametrize(("shift_s", "word"), [(600, "behind"), (-600, "ahead of")])
def test_a_clock_that_is_off(patient: Patient, shift_s: int, word: str) -> None:
    report = patient.examine(now=lambda: time.time() + shift_s)
    (finding,) = (one for one in report.findings if one.status == "fail")
    assert finding.id == "clock"
    assert word in finding.summary
    assert any(f" {seconds} s " in finding.summary for seconds in range(595, 606))
    assert (report.healthy, report.findings[-1].status) == (False, "ok")


def test_a_daemon_that_does_not_answer(classic: Patient) -> None:
    classic.sh('kill -STOP "$(cat /run/docker.pid)"')
    try:
        assert set(classic.fails()) == {"docker"}
    finally:
        classic.sh('kill -CONT "$(cat /run/docker.pid)"')


def test_a_daemon_that_cannot_start(modern: Patient) -> None:
    with modern.with_file(DAEMON_JSON, '{"no-such-key": 1}'):
        modern.sh('kill "$(cat /run/docker.pid)"')
        waiting.until(
            lambda: True if "no-such-key" in modern.vm.daemon_log() else None,
            what="its complaint",
            timeout_s=20,
        )
        (docker,) = (one for one in modern.examine().findings if one.id == "docker")
        assert (docker.status, "no-such-key" in docker.summary) == ("fail", True), docker
    modern.provider.wait_ready(modern.name)
    assert modern.examine().healthy


def test_a_vm_that_does_not_run_or_exist(classic: Patient, provider: DockerProvider) -> None:
    nobody = Patient(classic.stack, provider, "nobody")
    assert nobody.fails() == {"vm-runs": "vm create nobody"}
    provider.stop(classic.name)
    try:
        assert classic.fails() == {"vm-runs": f"vm start {classic.name}"}
    finally:
        provider.start(classic.name)
        provider.wait_ready(classic.name)
    waiting.until(
        lambda: True if classic.examine().healthy else None, what="recovery", timeout_s=10
    )
