"""The engine as it is: every call runs against a real dockerd."""

from __future__ import annotations

import dataclasses
import socket
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import docker
import pytest

from vmreg import images
from vmreg.engine import (
    OWNER_LABEL,
    ContainerSpec,
    Engine,
    HealthCheck,
    Mount,
    PublishedPort,
)
from vmreg.errors import HostError, VmregError
from vmreg.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNIQUE = uuid.uuid4().hex[:8]
SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    connected = Engine.connect(owner=f"test-engine-{UNIQUE}")
    yield connected
    for container in connected.list():
        connected.remove(container.id)
    connected.close()


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return images.ensure(engine, recipe=images.COMPONENTS)


@pytest.fixture
def name() -> str:
    return f"test-engine-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def network(engine: Engine, name: str) -> Iterator[str]:
    engine.ensure_network(name)
    yield name
    for container in engine.list():
        if name in container.addresses:
            engine.remove(container.id)
    engine.remove_network(name)


@pytest.fixture(scope="module")
def idle(engine: Engine, image: str) -> str:
    spec = ContainerSpec(name=f"test-engine-idle-{UNIQUE}", image=image, command=SLEEP, init=True)
    return engine.run(spec).name


def test_a_missing_engine_is_a_fault_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(HostError, match="no Docker engine answers") as caught:
        Engine.connect(owner="test")
    assert caught.value.exit_code == 5
    assert "./inv" in caught.value.resolution


def test_what_runs_is_described_and_found(engine: Engine, image: str, name: str) -> None:
    started = engine.run(
        ContainerSpec(name=name, image=image, command=SLEEP, init=True, labels={"part": name})
    )
    assert (started.name, started.state, started.running) == (name, "running", True)
    assert started.image == image
    assert started.image_id == engine.image_id(image)
    assert started.labels[OWNER_LABEL] == engine.owner
    assert started.addresses["bridge"].count(".") == 3
    assert engine.find(name) == started
    assert engine.find(started.id) == started
    assert engine.list(labels={"part": name}) == (started,)
    assert engine.list(labels={"part": "another"}) == ()

    engine.stop(name, timeout_s=5)
    assert engine.inspect(name).state == "exited"
    assert name in {one.name for one in engine.list()}
    engine.start(name)
    engine.start(name)
    assert engine.inspect(name).running
    engine.remove(name)
    engine.remove(name)
    assert engine.find(name) is None


def test_the_beginning_of_an_id_is_not_a_name(engine: Engine, idle: str) -> None:
    assert engine.find(engine.inspect(idle).id[:12]) is None


def test_the_owner_label_cannot_be_overruled(engine: Engine, image: str, name: str) -> None:
    engine.create(
        ContainerSpec(name=name, image=image, command=SLEEP, labels={OWNER_LABEL: "someone else"})
    )
    assert engine.inspect(name).labels[OWNER_LABEL] == engine.owner
    engine.remove(name)


def test_another_owner_sees_nothing_of_it(idle: str) -> None:
    other = Engine.connect(owner=f"test-engine-other-{UNIQUE}")
    assert other.list() == ()
    assert other.find(idle) is not None
    other.close()


def test_a_container_that_does_not_start_leaves_nothing(
    engine: Engine, image: str, name: str
) -> None:
    with pytest.raises(VmregError, match="refused to start") as caught:
        engine.run(ContainerSpec(name=name, image=image, command=("no-such-program",)))
    assert "no-such-program" in caught.value.details
    assert engine.find(name) is None


def test_a_missing_image_and_a_taken_name_are_refused(
    engine: Engine, image: str, idle: str
) -> None:
    with pytest.raises(VmregError, match="refused to create") as caught:
        engine.create(ContainerSpec(name=f"{idle}-2", image="vmreg/absent:1", command=SLEEP))
    assert "vmreg/absent:1" in caught.value.details
    with pytest.raises(VmregError, match="refused to create") as caught:
        engine.create(ContainerSpec(name=idle, image=image, command=SLEEP))
    assert "already in use" in caught.value.details


def test_commands_run_inside_with_their_own_streams(engine: Engine, idle: str) -> None:
    script = 'echo "out $WORD"; echo "err $(id -un)" >&2; exit 3'
    done = engine.exec(idle, ["sh", "-c", script], environment={"WORD": "ünï"}, user="nobody")
    assert (done.exit_code, done.output, done.errors) == (3, "out ünï\n", "err nobody\n")
    assert engine.exec(idle, ["true"]).output == ""


def test_a_command_that_does_not_exist_is_refused(engine: Engine, idle: str) -> None:
    with pytest.raises(VmregError, match="cannot run no-such-program"):
        engine.exec(idle, ["no-such-program"])


def test_files_are_put_into_running_and_stopped_containers(
    engine: Engine, image: str, name: str
) -> None:
    engine.create(ContainerSpec(name=name, image=image, command=SLEEP, init=True))
    engine.put_file(name, "/etc/before", b"one", mode=0o600)
    engine.start(name)
    engine.put_file(name, "/after", bytes(range(256)))
    shown = engine.exec(name, ["stat", "-c", "%a %s %U", "/etc/before", "/after"])
    assert shown.output == "600 3 root\n644 256 root\n"
    assert engine.exec(name, ["sha256sum", "/after"]).output.startswith("40aff2e9d2d8922e")
    with pytest.raises(VmregError, match="refused to write /no/such/folder/x"):
        engine.put_file(name, "/no/such/folder/x", b"")
    engine.remove(name)


def test_logs_hold_both_streams_and_raise_nothing(engine: Engine, image: str, name: str) -> None:
    script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three"
    engine.run(ContainerSpec(name=name, image=image, command=("sh", "-c", script)))
    assert b"".join(engine.follow(name)) == b"one\ntwo\nthree\n"
    assert engine.logs(name) == "one\ntwo\nthree"
    assert engine.logs(name, tail=1) == "three"
    assert engine.inspect(name).exit_code == 0
    engine.remove(name)
    assert "no log" in engine.logs(name)
    with pytest.raises(VmregError, match="refused to inspect"):
        engine.inspect(name)


def test_publishers_name_who_holds_a_port(engine: Engine, image: str, name: str) -> None:
    port = PublishedPort(container=8080, host=_free_port())
    spec = ContainerSpec(name=name, image=image, command=SLEEP, init=True, ports=(port,))
    assert engine.publishers(port.host) == ()
    engine.run(spec)
    assert engine.publishers(port.host) == (name,)
    with pytest.raises(VmregError, match="refused to start") as caught:
        engine.run(dataclasses.replace(spec, name=f"{name}-2"))
    assert "already allocated" in caught.value.details
    engine.remove(name)
    assert engine.publishers(port.host) == ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_limits_and_mounts_arrive_in_the_container(
    engine: Engine, image: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "given").write_text("from the host")
    engine.run(
        ContainerSpec(
            name=name,
            image=image,
            command=SLEEP,
            init=True,
            mounts=(
                Mount(target="/given", source=str(tmp_path), read_only=True),
                Mount(target="/scratch", kind="tmpfs"),
                Mount(target="/kept", kind="volume"),
            ),
            extra_hosts={"host.docker.internal": "host-gateway"},
            cap_drop=("ALL",),
            security_opt=("no-new-privileges",),
            read_only=True,
            pids=50,
            open_files=128,
            environment={"A": "b=c"},
        )
    )

    def inside(script: str) -> str:
        return engine.exec(name, ["sh", "-c", script]).output.strip()

    assert inside("cat /given/given") == "from the host"
    assert inside("touch /given/x 2>&1 || true").endswith("Read-only file system")
    assert inside("touch /etc/x 2>&1 || true").endswith("Read-only file system")
    assert inside("touch /scratch/x /kept/x && echo written") == "written"
    assert inside("stat -fc %T /scratch") == "tmpfs"
    assert inside("grep CapEff /proc/1/status | cut -f2") == "0" * 16
    assert inside("grep NoNewPrivs /proc/1/status | cut -f2") == "1"
    assert inside("ulimit -n") == "128"
    assert inside("echo $A") == "b=c"
    assert engine.bridge_gateway() in inside("grep host.docker.internal /etc/hosts")
    engine.remove(name)


def test_health_is_reported(engine: Engine, image: str, name: str) -> None:
    check = HealthCheck(argv=("test", "-e", "/well"), interval_s=0.2, retries=2, start_period_s=0)
    started = engine.run(
        ContainerSpec(name=name, image=image, command=SLEEP, init=True, health=check)
    )
    assert started.health in ("starting", "unhealthy")
    _wait_for_health(engine, name, "unhealthy")
    engine.put_file(name, "/well", b"")
    _wait_for_health(engine, name, "healthy")
    engine.remove(name)


def _wait_for_health(engine: Engine, name: str, health: str) -> None:
    until(
        lambda: True if engine.inspect(name).health == health else None,
        what=f"{name} being {health}",
        timeout_s=20,
        evidence=lambda: engine.logs(name),
    )


def test_a_container_that_dies_is_started_again(engine: Engine, image: str, name: str) -> None:
    script = "test -e /ran || { touch /ran; exit 1; }; exec sleep 1000"
    engine.run(ContainerSpec(name=name, image=image, command=("sh", "-c", script), restart=True))
    _wait_for_state(engine, name, restarts=1, state="running")
    engine.remove(name)


def test_a_container_is_paused_killed_and_renamed(engine: Engine, image: str, name: str) -> None:
    first = engine.run(ContainerSpec(name=name, image=image, command=SLEEP, init=True))
    engine.pause(name)
    assert engine.inspect(name).state == "paused"
    engine.unpause(name)
    engine.restart(name, timeout_s=5)
    again = engine.inspect(name)
    assert again.running
    assert again.started_at > first.started_at
    engine.kill(name)
    _wait_for_state(engine, name, restarts=0, state="exited")
    assert engine.inspect(name).exit_code == 137
    engine.rename(name, f"{name}-renamed")
    assert engine.find(name) is None
    engine.remove(f"{name}-renamed")


def _wait_for_state(engine: Engine, name: str, *, restarts: int, state: str) -> None:
    def reached() -> bool | None:
        seen = engine.inspect(name)
        return True if (seen.restarts, seen.state) == (restarts, state) else None

    until(reached, what=f"{name} being {state}", timeout_s=20, evidence=lambda: engine.logs(name))


def test_the_stop_timeout_is_the_containers_own(engine: Engine, image: str, name: str) -> None:
    engine.create(ContainerSpec(name=name, image=image, command=SLEEP, stop_timeout_s=37))
    raw = docker.from_env().api
    assert raw.inspect_container(name)["Config"]["StopTimeout"] == 37
    raw.close()
    engine.remove(name)


def test_networks_are_made_once_and_only_ours_are_removed(
    engine: Engine, image: str, network: str
) -> None:
    assert engine.ensure_network(network) == engine.ensure_network(network)
    (subnet,) = engine.network_subnets(network)
    assert subnet.endswith(("/16", "/20"))
    assert engine.network_subnets(network[:-1]) == ()
    other = Engine.connect(owner=f"test-engine-other-{UNIQUE}")
    other.remove_network(network)
    other.close()
    assert engine.network_subnets(network) == (subnet,)

    spec = ContainerSpec(
        name=f"{network}-a",
        image=image,
        command=SLEEP,
        init=True,
        network=network,
        aliases=("alias.example",),
    )
    member = engine.run(spec)
    resolved = engine.exec(member.name, ["getent", "hosts", "alias.example"]).output.split()
    assert resolved[0] == member.addresses[network]
    with pytest.raises(VmregError, match="refused to remove the network"):
        engine.remove_network(network)
    engine.remove(member.id)
    engine.remove_network(network)
    engine.remove_network(network)
    assert engine.network_subnets(network) == ()


def test_concurrent_calls_make_one_network(engine: Engine, name: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: engine.ensure_network(name), range(8)))
    assert len(made) == 1
    engine.remove_network(name)
    assert engine.network_subnets(name) == ()


def test_a_container_joins_and_leaves_a_further_network(
    engine: Engine, idle: str, network: str
) -> None:
    engine.connect_network(network, idle, aliases=["guest"])
    assert network in engine.inspect(idle).addresses
    assert engine.exec(idle, ["getent", "hosts", "guest"]).exit_code == 0
    engine.disconnect_network(network, idle)
    assert network not in engine.inspect(idle).addresses


def test_counters_of_what_a_container_received(engine: Engine, idle: str) -> None:
    received_bytes, packets = engine.received(idle)["eth0"]
    assert received_bytes >= packets > 0
