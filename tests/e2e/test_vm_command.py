"""The ``vm`` command as a person runs it: a folder, a home of its own, a cache, VMs."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.people import commands, left_of, unused_volumes, valid
from vmreg import accesslog, waiting
from vmreg.process import Completed

if TYPE_CHECKING:
    from bench.hub import Hub
    from tests.e2e.people import Person


def pulls(person: Person, name: str) -> None:
    person.done("exec", person.name(name), "docker", "pull", "-q", "node:20")


def test_of_three_vms_in_a_row_only_the_first_costs_the_hub_anything(
    running: Person, hub: Hub
) -> None:
    cost = []
    for name in ("frontend", "backend", "api"):
        mark = hub.mark()
        made = running.done("create", running.name(name))
        assert made.errors.splitlines()[-1] == f"next: vm ssh {running.name(name)}"
        pulls(running, name)
        cost.append(hub.totals(mark).blob_bytes)
    assert cost[0] > 1_000_000
    assert cost[1:] == [0, 0]
    listed = running.done("list", "--project", running.prefix).output.splitlines()
    assert [row.split("\t")[:3] for row in listed] == [
        [running.name(name), "running", "20.10"] for name in ("api", "backend", "frontend")
    ]
    found = valid("vms", running.done("list", "--format", "json").output)
    assert {one["name"] for one in found["vms"]} >= {running.name("api")}  # type: ignore[attr-defined]  # as the schema says
    details = valid("vm", running.done("status", running.name("api"), "--format", "json").output)
    assert details["mirrors"] == [f"http://host.docker.internal:{running.port}"]


def test_a_vm_that_is_to_do_without_is_untouched(running: Person) -> None:
    name = running.name("without")
    running.done("create", name, "--no-registry")
    daemon = running.done("exec", name, "cat", "/etc/docker/daemon.json").output
    assert "registry-mirrors" not in daemon
    running.done("provision", name, "--registry")
    daemon = running.done("exec", name, "cat", "/etc/docker/daemon.json").output
    assert f"host.docker.internal:{running.port}" in daemon
    assert running.done("provision", name).errors.startswith("nothing to change\n")
    running.done("provision", name, "--no-registry")
    running.done("destroy", name, "--yes")


def test_a_vm_made_while_the_cache_is_off_works_and_uses_it_later(person: Person) -> None:
    person.done("registry", "stop")
    name = person.name("early")
    made = person.done("create", name)
    assert "warning: the cache is stopped (it is not running)" in made.errors
    assert "remedy: vm registry start" in made.errors
    assert person.done("exec", name, "docker", "info").exit_code == 0
    again = person.done("start", name)
    assert "warning: the cache is stopped" in again.errors
    person.done("registry", "start")
    log = Path(person.environment["VM_HOME"]) / "registry/logs/edge.jsonl"
    before = log.stat().st_size
    person.done("exec", name, "docker", "pull", "-q", "node:20")
    assert any("node" in one.uri for one in accesslog.edge(log, offset=before))
    person.done("destroy", name, "--yes")


@pytest.mark.parametrize(("answer", "runs"), [("", True), ("n", False)])
def test_a_person_is_asked_once_whether_to_start_the_cache(
    person: Person, answer: str, *, runs: bool
) -> None:
    person.done("registry", "stop")
    name = person.name("asked")
    code, screen = person.at_a_terminal("create", name, answer=answer)
    assert code == 0, screen
    assert screen.count("Start Docker registry? [Y/n]") == 1
    assert (person.vm("registry", "status").exit_code == 0) == runs
    code, screen = person.at_a_terminal("destroy", name, answer="y")
    assert code == 0
    assert "[y/N]" in screen


def test_a_stranger_on_the_port_is_named_and_nothing_sent_to_it(person: Person) -> None:
    person.done("registry", "stop")
    name = person.name("stranger")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("0.0.0.0", person.port))  # noqa: S104 - a stranger's habit
        stranger.listen()
        made = person.done("create", name)
    assert f"port {person.port} is held by" in made.errors
    assert f"(pid {os.getpid()})" in made.errors
    daemon = person.done("exec", name, "cat", "/etc/docker/daemon.json").output
    assert "registry-mirrors" not in daemon
    person.done("destroy", name, "--yes")


def test_commands_pass_words_streams_and_exit_codes(running: Person) -> None:
    name = running.name("words")
    running.done("create", name, "--docker", "28", "--cpus", "1", "--memory", "1GiB")
    told = running.vm("exec", name, "--", "sh", "-c", 'echo "$0"; echo e >&2; exit 9', "a b")
    assert told == Completed(exit_code=9, output="a b\n", errors="e\n")
    details = valid("vm", running.done("status", name, "--format", "json").output)
    assert (details["cpus"], details["memory_bytes"]) == (1, 2**30)
    assert str(details["docker_answers"]).startswith("28.5.")
    assert "API listen" in running.done("logs", name, "--tail", "200").output
    running.done("stop", name)
    stopped = running.vm("status", name, "--format", "json")
    assert stopped.exit_code == 3
    assert valid("vm", stopped.output)["state"] == "stopped"
    assert running.vm("exec", name, "true").exit_code == 3
    running.done("start", name)
    running.done("destroy", name, "--yes")


def test_nothing_is_destroyed_without_a_word(running: Person) -> None:
    name = running.name("kept")
    running.done("create", name)
    refused = running.vm("destroy", name)
    assert (refused.exit_code, refused.output) == (2, "")
    assert "--yes" in refused.errors
    code, screen = running.at_a_terminal("destroy", name, answer="")
    assert code == 1
    assert "was not removed" in screen
    assert running.done("status", name).exit_code == 0
    running.done("destroy", name, "--yes")
    assert running.done("destroy", name, "--yes").errors == f"there is no VM {name}\n"


def test_of_twenty_at_once_all_are_made_and_of_one_name_one(running: Person) -> None:
    names = [running.name(f"many{number}") for number in range(20)]
    started = [running.start("create", name) for name in names]
    assert [one.wait() for one in started] == [0] * 20
    made = running.done("list", "--project", running.prefix).output
    assert all(f"{name}\t" in made for name in names)

    name = running.name("one")
    results: list[Completed] = []
    threads = [
        threading.Thread(target=lambda: results.append(running.vm("create", name)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.exit_code for one in results) == [0, 1, 1, 1, 1]
    assert all(name in one.errors for one in results)
    assert running.done("status", name).exit_code == 0
    ends = [running.start("destroy", one, "--yes") for one in (*names, name)]
    assert {one.wait() for one in ends} == {0}


@pytest.mark.parametrize(
    ("number", "moments"),
    [
        (signal.SIGKILL, (2, 4, 5, 6, 7, 9, 12)),
        (signal.SIGTERM, (3, 5, 7)),
        (signal.SIGINT, (4, 6, 8)),
    ],
)
def test_whenever_it_is_killed_nothing_stays(
    running: Person, number: signal.Signals, moments: tuple[int, ...]
) -> None:
    before = unused_volumes()
    name = running.name("killed")
    interrupted = 0
    for tenths in moments:
        process = running.start("create", name)
        time.sleep(tenths / 10)
        process.send_signal(number)
        interrupted += process.wait() != 0
        if number != signal.SIGKILL and left_of(name):  # it came too late: the VM is whole
            assert running.done("status", name, "--format", "json").output.count('"finished": true')
        again = running.vm("create", name)
        assert again.exit_code == 0 or "exists already" in again.errors, (tenths, again)
        assert running.done("exec", name, "docker", "version").exit_code == 0
        running.done("destroy", name, "--yes")
        assert left_of(name) == [], tenths
    assert unused_volumes() <= before
    assert interrupted


def test_a_vm_that_was_never_finished_is_not_handed_out(running: Person) -> None:
    name = running.name("torso")
    process = running.start("create", name)
    while not left_of(name):
        time.sleep(0.01)
    process.kill()
    process.wait()
    refused = running.vm("start", name)
    assert refused.exit_code == 4
    assert "was never finished" in refused.errors
    made = running.done("create", name)
    assert f"removing {name}, which was never finished" in made.errors
    running.done("start", name)
    running.done("destroy", name, "--yes")


def test_a_signal_reaches_what_runs_in_front_of_a_person(running: Person) -> None:
    name = running.name("signal")
    running.done("create", name)
    process = running.start("exec", name, "sleep", "1000")
    client = f"docker exec --interactive {running.container(name)} sleep 1000"
    waiting.until(lambda: True if client in commands() else None, what="sleep", timeout_s=20)
    process.terminate()
    assert process.wait(timeout=20) != 0
    assert client not in commands()
    running.done("destroy", name, "--yes")


@pytest.mark.parametrize("word", ["proxy", "storage", "proxy-previous", "storage-check"])
def test_a_vm_takes_no_name_of_the_cache(person: Person, word: str) -> None:
    instance = f"vm-{person.prefix}"
    refused = person.vm("create", person.name(word), VM_REGISTRY_INSTANCE=instance)
    assert (refused.exit_code, left_of(person.name(word))) == (2, [])
    assert "is a container of the cache" in refused.errors


def test_a_killed_creation_can_be_destroyed(running: Person) -> None:
    name = running.name("half")
    process = running.start("create", name)
    while not left_of(name):
        time.sleep(0.01)
    process.kill()
    process.wait()
    running.done("destroy", name, "--yes")
    assert left_of(name) == []


def test_what_is_wrong_in_vm_yaml_is_said_all_at_once_and_nothing_made(running: Person) -> None:
    bad = "vm: {memory: 4096, cpus: none}\nprovider: vagrant\ndocker_registry: perhaps\n"
    file = running.folder / "vm.yaml"
    good = file.read_text()
    file.write_text(good.replace("docker_registry: true\n", "") + bad)
    try:
        refused = running.vm("create", running.name("bad"))
    finally:
        file.write_text(good)
    assert refused.exit_code == 2
    for path in ("vm.memory", "vm.cpus", "provider", "docker_registry"):
        assert path in refused.errors
    assert left_of(running.name("bad")) == []


def test_what_is_fetched_beforehand_costs_the_vm_s_pull_nothing(running: Person, hub: Hub) -> None:
    (running.folder / "Dockerfile").write_text("FROM python:3.12\nCOPY --from=ghcr.io/a/b /x /x\n")
    done = running.done("registry", "pull", "node:20", "--for", "vm.yaml", "--format", "json")
    document = valid("pull", done.output)
    assert [one["reference"] for one in document["images"]] == ["node:20", "python:3.12"]  # type: ignore[attr-defined]  # as the schema says
    assert "skipped ghcr.io/a/b" in done.errors
    assert "pulls left before" in done.errors
    name = running.name("warm")
    running.done("create", name)
    mark = hub.mark()
    running.done("exec", name, "docker", "pull", "-q", "python:3.12")
    assert hub.totals(mark).blob_bytes == 0
    running.done("destroy", name, "--yes")
    missing = running.vm("registry", "pull", "no/such-image:1")
    assert missing.exit_code == 1
    assert "404" in missing.errors


def test_two_who_provision_at_once_do_not_disturb_each_other(running: Person) -> None:
    name = running.name("twice")
    running.done("create", name)
    for words in (("--no-registry",), (), ("--no-registry",), ()):
        pair = [running.start("provision", name, *words) for _ in range(2)]
        assert [one.wait() for one in pair] == [0, 0], words
    details = valid("vm", running.done("status", name, "--format", "json").output)
    assert details["mirrors"] == [f"http://host.docker.internal:{running.port}"]
    assert running.done("provision", name).errors.startswith("nothing to change\n")
    running.done("doctor", name)
    running.done("destroy", name, "--yes")


def test_the_doctor_speaks_to_people_and_programs(running: Person) -> None:
    name = running.name("patient")
    running.done("create", name)
    assert valid("doctor", running.done("doctor", name, "--format", "json").output)["vm"] == name
    running.done("provision", name, "--no-registry")
    ill = running.vm("doctor", name)
    assert ill.exit_code == 4
    assert all(row.count("\t") == 3 for row in ill.output.splitlines())
    remedy = next(row for row in ill.output.splitlines() if "\tfail\t" in row).split("\t")[3]
    assert f"vm provision {name}" in remedy
    assert "is not well: mirror-first" in ill.errors
    running.done("provision", name)
    running.done("doctor", name)
    running.done("destroy", name, "--yes")


def test_every_format_of_configuration_is_valid(person: Person) -> None:
    valid("config", person.done("registry", "config", "show", "--format", "json").output)
