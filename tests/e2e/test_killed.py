"""A provision that is killed at any moment of dockerd's restart, and the next one that heals it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machines import Machine, machine_of, open_site
from vmreg.process import run
from vmreg.serving import HOST_NAME
from vmreg.vms import provision, survey
from vmreg.vms.provider import DAEMON_JSON, VmConnection
from vmreg.vms.reconcile import provision as bring
from vmreg.vms.restarting import LIVE_RESTORE, PROOF

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vmreg.engine import Engine, Finished
    from vmreg.vms.docker import DockerProvider

MIRROR = f"http://{HOST_NAME}:1"
# Provisions a VM and kills itself: some time after the beginning of the command of that number,
# not counting those that only ask.
DYING = """
import os, signal, sys, threading
from vmreg.engine import Engine
from vmreg.vms.docker import DockerProvider
from vmreg.vms.provider import VmConnection
from vmreg.vms.reconcile import provision

owner, name, mirror, last, delay_s = sys.argv[1:]


class Dying(VmConnection):
    told = 0

    def exec(self, argv):
        if argv[0] == "docker":
            return super().exec(argv)
        Dying.told += 1
        if Dying.told < int(last):
            return super().exec(argv)
        if float(delay_s):
            threading.Timer(float(delay_s), os.kill, (os.getpid(), signal.SIGKILL)).start()
        super().exec(argv)
        os.kill(os.getpid(), signal.SIGKILL)


provision(Dying(provider=DockerProvider(Engine.connect(owner=owner)), name=name), mirror)
"""
# What each command is: 2 the marker, 3 the file with a proof, 4 its reload, 5 the lent key, 6 its
# reload, 7 the new file, 8 the restart, 9 the lent key taken back, 10 its reload.
MOMENTS = [(last, 0.0) for last in range(2, 11)] + [(8, 0.1), (8, 0.5)]


@pytest.fixture(scope="module")
def machine(
    engine: Engine, provider: DockerProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    with (
        open_site(engine, tmp_path_factory.mktemp("site")) as site,
        machine_of("20.10", engine, provider, site) as made,
    ):
        yield made


def lives_on(machine: Machine) -> str:
    return machine.done("docker info --format '{{.LiveRestoreEnabled}}'").strip()


@pytest.mark.parametrize(("last", "delay_s"), MOMENTS)
def test_the_next_provision_heals_what_a_killed_one_left(
    engine: Engine, machine: Machine, last: int, delay_s: float
) -> None:
    bring(machine.vm, None)
    before, kept = machine.settings(), machine.kept()
    argv = [engine.owner, machine.vm.name, MIRROR, str(last), str(delay_s)]

    killed = run([sys.executable, "-c", DYING, *argv], check=False, timeout_s=90)
    assert killed.exit_code == -9, killed
    assert survey.look(machine.vm).file(survey.MARKER).text is not None

    said = bring(machine.vm, MIRROR)

    assert said[0] == f"dockerd pulls through {MIRROR}"
    assert machine.settings() == {
        **before,
        provision.MIRRORS: [MIRROR],
        provision.INSECURE: [MIRROR],
    }
    assert provision.active_mirrors(machine.vm) == (MIRROR,)
    assert lives_on(machine) == "false"
    assert bring(machine.vm, MIRROR) == ()
    assert machine.done("ls -A /etc/docker").split() == ["daemon.json", "key.json"]
    assert machine.kept() == kept
    bring(machine.vm, None)
    assert machine.settings() == before


@dataclass(frozen=True, kw_only=True)
class Interrupted(VmConnection):
    """Ctrl-C comes during one command, counted as above."""

    last: int
    told: list[object] = field(default_factory=list)

    def exec(self, argv: Sequence[str]) -> Finished:
        done = super().exec(argv)
        if argv[0] != "docker":
            self.told.append(argv)
            if len(self.told) == self.last:
                raise KeyboardInterrupt
        return done


@pytest.mark.parametrize("last", range(2, 9))
def test_a_provision_that_is_interrupted_leaves_all_as_it_was(machine: Machine, last: int) -> None:
    bring(machine.vm, None)
    before, kept = machine.done(f"cat {DAEMON_JSON}"), machine.kept()
    vm = Interrupted(provider=machine.vm.provider, name=machine.vm.name, last=last)

    with pytest.raises(KeyboardInterrupt):
        bring(vm, MIRROR)

    assert machine.done(f"cat {DAEMON_JSON}") == before
    assert machine.done("ls -A /etc/docker").split() == ["daemon.json", "key.json"]
    assert provision.active_mirrors(machine.vm) == ()
    assert lives_on(machine) == "false"
    assert machine.kept() == kept
    assert bring(machine.vm, None) == ()


def test_a_proof_that_an_earlier_kill_left_behind_is_taken_out(machine: Machine) -> None:
    bring(machine.vm, None)
    before = machine.done(f"cat {DAEMON_JSON}")
    listed = f'{{"registry-mirrors": ["{PROOF}", "http://a.example", "http://a.example"],'
    machine.write(DAEMON_JSON, before.replace("{", listed, 1))
    machine.done("kill -HUP $(cat /run/docker.pid); sleep 1")

    bring(machine.vm, MIRROR)

    assert provision.active_mirrors(machine.vm) == (MIRROR, "http://a.example")
    assert bring(machine.vm, MIRROR) == ()
    bring(machine.vm, None)
    assert bring(machine.vm, None) == ()
    assert PROOF not in machine.done(f"cat {DAEMON_JSON}")
    machine.write(DAEMON_JSON, before)
    machine.done("kill -HUP $(cat /run/docker.pid)")


def test_a_live_restore_that_only_the_running_dockerd_has_keeps_its_containers(
    machine: Machine,
) -> None:
    bring(machine.vm, None)
    before, kept = machine.done(f"cat {DAEMON_JSON}"), machine.kept()
    machine.write(DAEMON_JSON, before.replace("{", f'{{"{LIVE_RESTORE}": true,', 1))
    machine.done("kill -HUP $(cat /run/docker.pid); sleep 1")
    machine.write(DAEMON_JSON, before)
    assert lives_on(machine) == "true"

    said = bring(machine.vm, MIRROR)

    assert "its containers were not" in said[1]
    assert machine.kept() == kept
    assert lives_on(machine) == "false"
    assert LIVE_RESTORE not in machine.settings()
    bring(machine.vm, None)
