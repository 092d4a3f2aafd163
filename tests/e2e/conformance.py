"""What any provider must do, as a suite: inherit it and say how the provider is made.

Every statement of :class:`vmreg.vms.provider.Provider` is held by one test here. A subclass gives
the fixture ``provider`` and has no other business with it.
"""

from __future__ import annotations

import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from vmreg.errors import NotRunningError, VmregError
from vmreg.serving import HOST_NAME
from vmreg.vms.provider import DAEMON_JSON, VmSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmreg.vms.provider import Provider

MIRROR = "http://host.docker.internal:5999"
GIB = 2**30


def fresh(kind: str = "vm") -> str:
    return f"conf-{kind}-{uuid.uuid4().hex[:8]}"


class ProviderConformance:
    """Inherit, and define the fixture ``provider`` for the class."""

    @pytest.fixture(scope="class")
    @classmethod
    def vm(cls, provider: Provider) -> Iterator[str]:
        """One VM for all tests that do not spoil it."""
        name = fresh()
        spec = VmSpec(
            name=name,
            mirror=MIRROR,
            cpus=1,
            memory_bytes=GIB,
            labels={"conformance": name},
            daemon={"debug": True},
            extra_hosts={"hub.conformance": "192.0.2.7"},
        )
        try:
            made = provider.create(spec)
            assert (made.name, made.running) == (name, True)
            provider.wait_ready(name)
            yield name
        finally:
            provider.destroy(name)

    # create

    def test_a_new_vm_has_an_address_and_its_labels(self, provider: Provider, vm: str) -> None:
        (found,) = provider.list(labels={"conformance": vm})
        assert (found.name, found.running) == (vm, True)
        assert found.address == provider.address(vm)
        assert found.labels["conformance"] == vm
        assert found.instance

    def test_the_host_resolves_in_it(self, provider: Provider, vm: str) -> None:
        assert provider.exec(vm, ["getent", "hosts", HOST_NAME]).exit_code == 0

    def test_extra_hosts_resolve_in_it(self, provider: Provider, vm: str) -> None:
        told = provider.exec(vm, ["getent", "hosts", "hub.conformance"]).output
        assert told.split() == ["192.0.2.7", "hub.conformance"]

    def test_its_dockerd_has_the_mirror_from_the_first_pull_on(
        self, provider: Provider, vm: str
    ) -> None:
        argv = ["docker", "info", "--format", "{{json .RegistryConfig.Mirrors}} {{.Debug}}"]
        assert provider.exec(vm, argv).output.split() == [f'["{MIRROR}/"]', "true"]

    def test_a_name_that_is_taken_is_refused_and_its_owner_unharmed(
        self, provider: Provider, vm: str
    ) -> None:
        with pytest.raises(VmregError, match=vm):
            provider.create(VmSpec(name=vm))
        assert provider.exec(vm, ["true"]).exit_code == 0

    def test_an_image_that_does_not_exist_leaves_nothing(self, provider: Provider) -> None:
        name = fresh("bad")
        with pytest.raises(VmregError):
            provider.create(VmSpec(name=name, image="vmreg.invalid/no-such-image:1"))
        assert name not in [one.name for one in provider.list()]

    def test_limits_hold(self, provider: Provider, vm: str) -> None:
        script = (
            "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
            " 2> /dev/null; cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us"
            " 2> /dev/null; true"
        )
        told = provider.exec(vm, ["sh", "-c", script]).output.split()
        assert told[0] == str(GIB)
        assert told[1] == "100000"

    def test_many_can_be_made_at_once(self, provider: Provider) -> None:
        names = [fresh("many") for _ in range(4)]
        with ThreadPoolExecutor() as pool:
            try:
                list(pool.map(lambda name: provider.create(VmSpec(name=name)), names))
                list(pool.map(provider.wait_ready, names))
                addresses = {provider.address(name) for name in names}
            finally:
                list(pool.map(provider.destroy, names))
        assert len(addresses) == len(names)
        assert not {one.name for one in provider.list()} & set(names)

    def test_one_without_docker_is_ready_at_once_and_runs_commands(
        self, provider: Provider
    ) -> None:
        name = fresh("bare")
        try:
            provider.create(VmSpec(name=name, docker=False))
            provider.wait_ready(name)
            assert (
                provider.exec(name, ["sh", "-c", "pgrep dockerd || echo none"]).output == "none\n"
            )
        finally:
            provider.destroy(name)

    # exec, files, sessions

    def test_a_command_has_its_exit_code_and_both_outputs(
        self, provider: Provider, vm: str
    ) -> None:
        done = provider.exec(vm, ["sh", "-c", "echo out; echo err >&2; id -u; exit 7"])
        assert (done.exit_code, done.output, done.errors) == (7, "out\n0\n", "err\n")

    def test_no_shell_stands_in_between(self, provider: Provider, vm: str) -> None:
        words = ["a b", "$HOME", "*", ";true", ""]
        told = provider.exec(vm, ["printf", "<%s>", *words]).output
        assert told == "".join(f"<{word}>" for word in words)

    def test_a_command_that_does_not_exist_is_an_error(self, provider: Provider, vm: str) -> None:
        with pytest.raises(VmregError):
            provider.exec(vm, ["no-such-program"])

    def test_a_file_arrives_whole_and_is_read_again(self, provider: Provider, vm: str) -> None:
        content = bytes(range(256)) * 4096
        provider.put_file(vm, "/etc/conformance", content, mode=0o640)
        assert provider.read_file(vm, "/etc/conformance") == content
        told = provider.exec(vm, ["stat", "-c", "%a %u %g", "/etc/conformance"]).output
        assert told == "640 0 0\n"

    def test_a_file_that_is_not_there_is_none(self, provider: Provider, vm: str) -> None:
        assert provider.read_file(vm, "/etc/no-such-file") is None

    def test_a_session_has_our_streams_and_the_exit_code(self, provider: Provider, vm: str) -> None:
        program = provider.session(vm, ["sh", "-c", "cat; exit 9"], terminal=False)
        done = subprocess.run(program, input=b"through", capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (9, b"through")

    def test_its_log_can_be_read_and_followed(self, provider: Provider, vm: str) -> None:
        assert provider.daemon_log(vm, tail=2).count("\n") <= 1
        assert provider.daemon_log(vm, tail=50)
        assert next(iter(provider.follow(vm, tail=1)))

    def test_what_it_receives_is_counted(self, provider: Provider, vm: str) -> None:
        before = provider.received(vm)
        assert provider.received(vm).rx_bytes >= before.rx_bytes > 0
        assert before.rx_packets > 0

    # stop, start, destroy

    def test_its_disk_outlives_a_stop(self, provider: Provider) -> None:
        name = fresh("stop")
        try:
            provider.create(VmSpec(name=name))
            provider.wait_ready(name)
            provider.put_file(name, "/etc/kept", b"kept")
            provider.exec(name, ["sh", "-c", "echo volume > /var/lib/docker/kept"])
            provider.stop(name)
            provider.stop(name)  # harmless
            (found,) = [one for one in provider.list() if one.name == name]
            assert (found.running, found.address) == (False, "")
            assert provider.read_file(name, "/etc/kept") == b"kept"
            provider.put_file(name, "/etc/more", b"while stopped")
            for use in (lambda: provider.exec(name, ["true"]), lambda: provider.address(name)):
                with pytest.raises(NotRunningError, match=name):
                    use()
            assert provider.start(name).running
            provider.start(name)  # harmless
            provider.wait_ready(name)
            told = provider.exec(name, ["cat", "/var/lib/docker/kept", "/etc/more"]).output
            assert told == "volume\nwhile stopped"
        finally:
            provider.destroy(name)

    def test_destroying_twice_is_harmless(self, provider: Provider) -> None:
        name = fresh("gone")
        provider.create(VmSpec(name=name))
        provider.destroy(name)
        provider.destroy(name)
        assert name not in [one.name for one in provider.list()]

    def test_what_is_not_there_says_so(self, provider: Provider) -> None:
        name = fresh("none")
        for use in (
            lambda: provider.start(name),
            lambda: provider.stop(name),
            lambda: provider.exec(name, ["true"]),
            lambda: provider.put_file(name, "/etc/x", b""),
            lambda: provider.read_file(name, DAEMON_JSON),
            lambda: provider.session(name, ["true"], terminal=False),
            lambda: provider.address(name),
            lambda: provider.received(name),
            lambda: provider.wait_ready(name),
            lambda: provider.follow(name),
        ):
            with pytest.raises(NotRunningError, match=name):
                use()
