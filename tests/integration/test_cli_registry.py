"""``registry.*`` as people run it: a process of its own, with its output in a pipe."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.integration.conftest import free_port
from tests.integration.edge import Edge
from vmreg import ports, status, store, waiting
from vmreg.cli.common import OWNER
from vmreg.engine import Engine
from vmreg.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.hub import Hub
    from vmreg.engine import Container
    from vmreg.process import Completed

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((Path(status.__file__).parent / "schema/status.schema.json").read_text())
IMAGE = "library/node:20"


@dataclass(frozen=True, kw_only=True)
class Cli:
    """A user with a home of its own.

    :param engine: sees what the command line made.
    """

    home: Path
    port: int
    instance: str
    variables: dict[str, str]
    engine: Engine

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words]

    def __call__(self, *words: str, **variables: str) -> Completed:
        return run(
            self.argv(*words),
            check=False,
            environment={**os.environ, **self.variables, **variables},
        )

    def document(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self("registry.status", "--format", "json").output)

    def container(self, role: str) -> Container | None:
        return self.engine.find(f"{self.instance}-{role}")

    def there(self, role: str) -> Container:
        found = self.container(role)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def owned() -> Iterator[Engine]:
    connection = Engine.connect(owner=OWNER)
    yield connection
    connection.close()


@contextmanager
def user(owned: Engine, hub: Hub, home: Path) -> Iterator[Cli]:
    instance, port = f"test-cli-{uuid.uuid4().hex[:8]}", free_port()
    variables = {
        "VM_HOME": str(home),
        "VM_REGISTRY_INSTANCE": instance,
        "VM_REGISTRY_PORT": str(port),
        "VM_REGISTRY_UPSTREAM_NETWORK": hub.network,
        "VM_REGISTRY_UPSTREAM_CA_FILE": str(hub.ca_file),
        "COLUMNS": "40",  # a pipe has no width
    }
    cli = Cli(home=home, port=port, instance=instance, variables=variables, engine=owned)
    try:
        yield cli
    finally:
        for role in ("proxy", "storage"):
            owned.remove(f"{instance}-{role}")
        for network in (instance, f"{instance}-inside"):
            owned.remove_network(network)


@pytest.fixture
def cli(owned: Engine, hub: Hub, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line whose cache was never started."""
    with user(owned, hub, tmp_path / "home") as made:
        yield made


@pytest.fixture(scope="module")
def first(
    owned: Engine, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Cli, Completed]]:
    """Return a command line whose cache runs, and what its start said; tests leave it running."""
    with user(owned, hub, tmp_path_factory.mktemp("cli") / "home") as made:
        done = made("registry.start")
        Edge(port=made.port).pull(IMAGE)
        yield made, done


@pytest.fixture
def started(first: tuple[Cli, Completed]) -> Cli:
    assert first[1].exit_code == 0, first[1].errors
    return first[0]


def test_a_start_says_what_it_did_where_it_serves_and_what_is_next(
    first: tuple[Cli, Completed], owned: Engine
) -> None:
    cli, done = first
    assert (done.exit_code, done.output) == (0, "")
    said = done.errors.splitlines()
    assert f"created {cli.instance}-proxy" in said
    assert f"created {cli.instance}-storage" in said
    assert re.fullmatch(
        rf"serving on 127[.]0[.]0[.]1:{cli.port}, {re.escape(owned.bridge_gateway())}:{cli.port}"
        r" after \d+[.]\d s",
        said[-2],
    )
    assert said[-1] == "next: vm registry status"


def test_a_second_start_does_nothing(started: Cli) -> None:
    before = started.there("proxy").id
    done = started("registry.start")
    assert done.exit_code == 0
    assert done.errors.startswith("it already runs as configured\nserving on ")
    assert started.there("proxy").id == before


def test_a_dry_start_says_what_a_start_would_do_and_does_not(started: Cli, cli: Cli) -> None:
    assert started("--dry", "registry.start").errors == "nothing to do\n"
    done = cli("--dry", "registry.start")
    assert (done.exit_code, done.output) == (0, "")
    assert done.errors == f"create {cli.instance}-proxy\ncreate {cli.instance}-storage\n"
    assert cli.container("proxy") is None
    assert not cli.home.exists()


def test_another_port_for_one_start_is_seen_as_a_change(started: Cli) -> None:
    done = started("--dry", "registry.start", "--port", str(free_port()))
    assert done.errors == f"recreate {started.instance}-proxy: its configuration changed\n"


def test_the_status_is_a_line_per_fact_and_nothing_is_cut(started: Cli, owned: Engine) -> None:
    def healthy() -> bool | None:
        states = {started.there(role).health for role in ("proxy", "storage")}
        return True if states == {"healthy"} else None

    waiting.until(healthy, what="the first health checks", timeout_s=60)
    done = started("registry.status")
    assert (done.exit_code, done.errors) == (0, "")
    lines = done.output.splitlines()
    assert lines[:6] == [
        "state\trunning",
        f"mirror for VMs\thttp://host.docker.internal:{started.port}",
        f"listens on\t127.0.0.1:{started.port}, {owned.bridge_gateway()}:{started.port}",
        f"proxy\t{started.instance}-proxy: running, healthy, 0 restarts",
        f"storage\t{started.instance}-storage: running, healthy, 0 restarts",
        lines[5],
    ]
    assert re.fullmatch(r"holds\t\d+ blobs, .+ of 50 GB; .+ free on the disk", lines[5])
    assert lines[6:8] == [
        f"data\t{started.home}/registry/data",
        "upstream\thttps://registry-1.docker.io (reachable)",
    ]
    assert re.fullmatch(r"hub's rate limit\t\d+ of \d+ pulls left, \d+ s ago", lines[8])
    assert len(lines) == 9


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_status_as_a_document_fits_its_schema(form: str, parse: Any, started: Cli) -> None:  # noqa: ANN401 - one of two parsers
    done = started("registry.status", "--format", form)
    assert (done.exit_code, done.errors) == (0, "")
    document = parse(done.output)
    Draft202012Validator(SCHEMA).validate(document)
    assert document["state"] == "running"
    assert document["pending"] == []
    assert [one["state"] for one in document["components"]] == ["running", "running"]
    assert document["upstream"]["reachable"] is True


def test_the_status_counts_what_the_disk_holds(started: Cli, hub: Hub) -> None:
    storage, limit = (started.document()[key] for key in ("storage", "rate_limit"))
    blobs = (started.home / "registry/data/docker/registry/v2/blobs").rglob("data")
    sizes = [path.stat().st_size for path in blobs]
    assert (storage["blobs"], storage["used_bytes"]) == (len(sizes), sum(sizes))
    assert storage["used_bytes"] > hub.images[IMAGE].unique_bytes
    assert storage["max_bytes"] == 50_000_000_000
    assert 0 < limit["remaining"] < limit["limit"]


def test_the_logs_are_the_containers_own_output(started: Cli) -> None:
    both = started("registry.logs")
    storage = started("registry.logs", "--role", "storage", "--tail", "1")
    assert (both.exit_code, storage.exit_code) == (0, 0)
    assert "listening on /run/vmreg/storage.sock" in both.output
    assert len(storage.output.splitlines()) == 1


@contextmanager
def following(cli: Cli) -> Iterator[subprocess.Popen[bytes]]:
    """Follow storage's log, of which one line has been read."""
    with subprocess.Popen(
        cli.argv("registry.logs", "--role", "storage", "--follow", "--tail", "1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **cli.variables},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_log_is_followed_until_the_interruption(started: Cli) -> None:
    with following(started) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        Edge(port=started.port).manifest("library/node", f"sha256:{uuid.uuid4().hex * 2}")
        assert b"level=" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"interrupted\n"
        assert process.wait(timeout=60) == 130


def test_a_log_whose_reader_went_away_ends_quietly(started: Cli) -> None:
    def ended() -> bool | None:
        Edge(port=started.port).manifest("library/node", f"sha256:{uuid.uuid4().hex * 2}")
        return None if process.poll() is None else True

    with following(started) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        waiting.until(ended, what="the end of the command", timeout_s=60)
        assert (process.returncode, process.stderr.read()) == (141, b"")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("registry.status", "--format", "xml"), "there is no format 'xml'"),
        (("registry.logs", "--role", "janitor"), "there is no role 'janitor'"),
        (("registry.logs", "--follow"), "--follow needs to know whom"),
        (("registry.start", "--port", "0"), "docker_registry.port = 0: is not a port"),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_a_usage_error(words: tuple[str, ...], fault: str, cli: Cli) -> None:
    done = cli(*words)
    assert (done.exit_code, done.output) == (2, "")
    assert fault in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.parametrize("task", ["start", "stop", "status", "logs"])
def test_a_bad_configuration_is_a_usage_error(task: str, cli: Cli) -> None:
    done = cli(f"registry.{task}", VM_REGISTRY_MAX_SIZE="50", VM_REGISTRY_ENABLED="maybe")
    assert (done.exit_code, done.output) == (2, "")
    assert done.errors.startswith("error: the configuration has 2 faults\n")
    assert "VM_REGISTRY_MAX_SIZE" in done.errors


@pytest.mark.parametrize("task", ["start", "stop", "status", "logs"])
def test_without_an_engine_the_host_is_to_blame(task: str, cli: Cli) -> None:
    done = cli(f"registry.{task}", DOCKER_HOST=f"unix://{cli.home}/nothing.sock")
    assert (done.exit_code, done.output) == (5, "")
    assert done.errors.startswith("error: no Docker engine answers\n")
    assert "Traceback" not in done.errors


def test_a_registry_that_was_never_started(cli: Cli) -> None:
    stopped = cli("registry.status", "--format", "json")
    assert stopped.exit_code == 3
    assert stopped.errors == ("error: the registry is not running\nStart it: vm registry start\n")
    document = json.loads(stopped.output)
    Draft202012Validator(SCHEMA).validate(document)
    assert (document["state"], document["upstream"]["reachable"]) == ("stopped", None)
    assert document["rate_limit"] is None
    assert document["pending"] == [f"create {cli.instance}-{one}" for one in ("proxy", "storage")]
    table = cli("registry.status")
    assert "state\tstopped (it is not running)\n" in table.output
    assert f"start would\tcreate {cli.instance}-proxy\n" in table.output
    assert cli("registry.logs").exit_code == 3
    stop = cli("registry.stop")
    assert (stop.exit_code, stop.output) == (0, "")
    assert stop.errors == "it was not running\nnext: vm registry start\n"


def test_a_taken_port_names_who_holds_it(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", cli.port)):
        done = cli("registry.start")
    assert (done.exit_code, done.output) == (5, "")
    assert f"error: port {cli.port} on 127.0.0.1 is taken by " in done.errors
    assert f"(pid {os.getpid()})" in done.errors
    assert f"docker_registry.port {cli.port + 1}" in done.errors
    assert cli.container("proxy") is None


def test_from_start_to_stop(cli: Cli) -> None:
    assert cli("registry.start").exit_code == 0
    cli.engine.pause(cli.there("storage").id)
    check_degraded(cli, "127.0.0.1", "paused")
    cli.engine.unpause(cli.there("storage").id)
    waiting.until(  # the engine takes a paused container for unhealthy until it asks again
        lambda: True if cli.document()["state"] == "running" else None,
        what="the end of the degradation",
        timeout_s=60,
    )

    cli.engine.stop(cli.there("storage").id, timeout_s=10)
    check_degraded(cli, "answered", "exited")
    again = cli("registry.start")
    assert again.exit_code == 0
    assert f"recreated {cli.instance}-storage: it was exited\n" in again.errors

    dry = cli("--dry", "registry.stop")
    assert dry.errors.startswith(f"stop {cli.instance}-proxy\nstop {cli.instance}-storage\n")
    assert ports.listeners(cli.port)
    stop = cli("registry.stop")
    assert (stop.exit_code, stop.output) == (0, "")
    assert f"stopped; the data stays in {cli.home}/registry/data\n" in stop.errors
    assert ports.listeners(cli.port) == frozenset()
    assert cli.container("proxy") is cli.container("storage") is None
    second = cli("registry.stop")
    assert (second.exit_code, second.errors.splitlines()[0]) == (0, "it was not running")
    assert (cli.home / "registry/data" / store.ROOT).is_dir()
    assert "the proxy is not there" in cli("--dry", "registry.stop").errors


def check_degraded(cli: Cli, fault: str, state: str) -> None:
    done = cli("registry.status", "--format", "json")
    document = json.loads(done.output)
    Draft202012Validator(SCHEMA).validate(document)
    assert done.exit_code == 4
    assert (document["state"], document["serving"]) == ("degraded", False)
    assert fault in document["fault"]
    assert document["components"][1]["state"] == state
    assert document["pending"] == [f"recreate {cli.instance}-storage: it was {state}"]
    assert done.errors.startswith("error: the registry is degraded\n")
    assert document["fault"] in done.errors
