"""Fleets: made together, and gone together however the program ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import docker.errors
import pytest

from vmreg import waiting
from vmreg.errors import VmregError
from vmreg.vms import provision
from vmreg.vms.fleet import everywhere, fleet, sweep
from vmreg.vms.provider import VmConnection, VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider
    from vmreg.vms.provider import Vm

NAME = f"t{os.getpid()}-fleet"
ROOT = Path(__file__).parents[2]
MIRROR = "http://host.docker.internal:5999"

PROGRAM = """
import sys, time
from vmreg.engine import Engine
from vmreg.vms.docker import DockerProvider
from vmreg.vms.fleet import everywhere, fleet
from vmreg.vms.provider import VmSpec

owner, name = sys.argv[1:]
provider = DockerProvider(Engine.connect(owner=owner))
specs = [VmSpec(name=f"{name}-{index}") for index in range(5)]
with fleet(provider, specs) as vms:
    print("ready", flush=True)
    everywhere(vms, lambda vm: provider.exec(vm.name, ["sleep", "600"]))
"""


def volumes() -> set[str]:
    listed = docker.from_env().api.volumes()["Volumes"] or ()
    return {volume["Name"] for volume in listed}


def volumes_of(vms: tuple[Vm, ...]) -> set[str]:
    api = docker.from_env().api
    found = set()
    for vm in vms:
        try:
            mounts = api.inspect_container(vm.instance)["Mounts"]
        except docker.errors.NotFound:
            continue
        found |= {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
    return found


def of(provider: DockerProvider, name: str) -> tuple[Vm, ...]:
    return tuple(vm for vm in provider.list() if vm.name.startswith(f"{name}-"))


@pytest.fixture
def program(engine: Engine, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a program with a fleet; return the prefix of its VMs' names and its process."""
    name = f"{NAME}-p{re.sub('[^0-9]', '', tmp_path.name)}"
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, script, engine.owner, name],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield name, process
    process.kill()
    process.communicate()


def wait_for_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def test_vms_are_ready_together_in_the_order_of_their_specs(provider: DockerProvider) -> None:
    specs = [VmSpec(name=f"{NAME}-{index}", mirror=MIRROR) for index in (3, 1, 2)]
    ready: list[str] = []

    with fleet(provider, specs, progress=lambda vm: ready.append(vm.name)) as vms:
        assert [vm.name for vm in vms] == [spec.name for spec in specs]
        assert sorted(ready) == sorted(spec.name for spec in specs)
        assert len({vm.address for vm in vms}) == 3
        used = everywhere(
            vms,
            lambda vm: provision.active_mirrors(VmConnection(provider=provider, name=vm.name)),
        )
        kept = volumes_of(vms)

    assert used == ((MIRROR,),) * 3
    assert of(provider, NAME) == ()
    assert len(kept) == 3
    assert not kept & volumes()


def test_one_failure_ends_the_fleet_and_spares_what_was_there(provider: DockerProvider) -> None:
    taken = f"{NAME}-taken"
    provider.create(VmSpec(name=taken))
    specs = [VmSpec(name=f"{NAME}-a"), VmSpec(name=taken), VmSpec(name=f"{NAME}-b")]

    with pytest.raises(VmregError, match=f"cannot create the VM {taken}"), fleet(provider, specs):
        pytest.fail("the block must not run")

    assert [vm.name for vm in of(provider, NAME)] == [taken]
    provider.destroy(taken)


def test_an_error_in_the_block_passes_through(provider: DockerProvider) -> None:
    with pytest.raises(ZeroDivisionError), fleet(provider, [VmSpec(name=f"{NAME}-error")]):
        raise ZeroDivisionError

    assert of(provider, NAME) == ()


def test_a_failure_in_one_vm_does_not_wait_for_the_others(provider: DockerProvider) -> None:
    specs = [VmSpec(name=f"{NAME}-{index}") for index in range(2)]

    def work(vm: Vm) -> None:
        if vm.name.endswith("0"):
            raise VmregError(brief="the first failed")
        provider.exec(vm.name, ["sleep", "600"])

    with pytest.raises(VmregError, match="the first failed"), fleet(provider, specs) as vms:
        everywhere(vms, work)

    assert of(provider, NAME) == ()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)],
)
def test_a_signal_while_the_vms_work_leaves_nothing(
    provider: DockerProvider,
    program: tuple[str, subprocess.Popen[str]],
    number: signal.Signals,
    status: int,
) -> None:
    name, process = program
    wait_for_line(process, "ready")
    kept = volumes_of(of(provider, name))

    process.send_signal(number)

    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert of(provider, name) == ()
    assert len(kept) == 5
    assert not kept & volumes()


@pytest.mark.parametrize("alive", [1, 3])
def test_ctrl_c_in_the_middle_of_creating_leaves_nothing(
    provider: DockerProvider, program: tuple[str, subprocess.Popen[str]], alive: int
) -> None:
    name, process = program
    seen: set[str] = set()

    def some() -> bool | None:
        vms = of(provider, name)
        seen.update(volumes_of(vms))
        return True if len(vms) >= alive else None

    waiting.until(some, what=f"that {alive} VMs exist", timeout_s=60, interval_s=0.01)
    process.send_signal(signal.SIGINT)
    # The impatient press it twice.
    process.send_signal(signal.SIGINT)

    output, errors = process.communicate(timeout=60)
    assert output == ""
    assert process.returncode == -signal.SIGINT, errors
    assert of(provider, name) == ()
    assert seen
    assert not seen & volumes()


def test_what_a_killed_program_left_is_swept_by_the_next(
    provider: DockerProvider, program: tuple[str, subprocess.Popen[str]]
) -> None:
    name, process = program
    wait_for_line(process, "ready")
    assert sweep(provider) == (), "its process is alive"

    process.kill()
    process.wait()
    kept = volumes_of(of(provider, name))

    assert sweep(provider) == tuple(f"{name}-{index}" for index in range(5))
    assert of(provider, name) == ()
    assert len(kept) == 5
    assert not kept & volumes()
