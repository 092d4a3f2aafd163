"""What hides the mirror from a Docker, what else in a VM pulls, and files that are broken."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machines import IMAGE, WAYS, Machine, Site, machine_of, open_site
from vmreg.errors import VmregError
from vmreg.images import Recipe, ensure
from vmreg.serving import HOST_NAME
from vmreg.vms import provision, survey
from vmreg.vms.provider import DAEMON_JSON, VmConnection, VmSpec
from vmreg.vms.reconcile import provision as bring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider

COMPANY = """\
server = "https://registry-1.docker.io"

# the company's mirror, which is down
[host."http://127.0.0.1:9"]
  capabilities = ["pull", "resolve"]
"""
# The VM's own disk is no place for podman's overlays.
STORAGE = r'[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/c"\nrunroot = "/run/c"\n'
PODMAN = Recipe(
    name="vm-podman",
    suite="trixie",
    packages=("podman", "ca-certificates", "iproute2", "iptables", "mount", "procps"),
    hooks=('mkdir -p "$1/etc/docker"', f"printf '{STORAGE}' > $1/etc/containers/storage.conf"),
)


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(engine, tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module")
def newest(engine: Engine, provider: DockerProvider, site: Site) -> Iterator[Machine]:
    with machine_of("28.5", engine, provider, site) as made:
        yield made


@pytest.fixture
def cut_off(site: Site) -> Iterator[None]:
    with site.hub_cut_off():
        yield


@pytest.mark.parametrize("path", [survey.DOCKER_HOSTS, survey.DEFAULT_HOSTS])
@pytest.mark.usefixtures("cut_off")
def test_a_hosts_file_that_hides_the_mirror_gets_it_too(
    newest: Machine, site: Site, path: str
) -> None:
    bring(newest.vm, site.mirror)
    newest.write(path, COMPANY)
    before = newest.done("find /etc/docker/certs.d | sort | xargs ls -ld; cat " + path)
    try:
        said = bring(newest.vm, site.mirror)
        again = bring(newest.vm, site.mirror)
        for way in ("pull", "buildkit"):
            newest.forget()
            since = site.mark()
            newest.done(WAYS[way])
            site.went_through(since)

        bring(newest.vm, None)
        after = newest.done("find /etc/docker/certs.d | sort | xargs ls -ld; cat " + path)
    finally:
        newest.done("rm -r /etc/docker/certs.d")

    assert said == (f"{survey.DOCKER_HOSTS} asks {site.mirror} first",)
    assert again == ()
    assert after.splitlines()[-len(COMPANY.splitlines()) :] == COMPANY.splitlines()
    assert [line.split()[-1] for line in after.splitlines() if "/etc/" in line] == [
        line.split()[-1] for line in before.splitlines() if "/etc/" in line
    ]


@pytest.mark.usefixtures("cut_off")
def test_a_proxy_is_told_to_leave_the_mirror_alone_without_stopping_a_container(
    newest: Machine, site: Site
) -> None:
    bring(newest.vm, None)
    original = newest.settings()
    proxies = {"http-proxy": "http://127.0.0.1:9", "no-proxy": "a.example"}
    newest.write(DAEMON_JSON, json.dumps({**original, "proxies": proxies, "live-restore": True}))
    newest.done("kill -HUP $(cat /run/docker.pid); sleep 1; kill -TERM $(cat /run/docker.pid)")
    newest.done("sleep 1; until docker version > /dev/null 2>&1; do sleep 0.2; done")
    newest.write(DAEMON_JSON, json.dumps({**original, "proxies": proxies, "live-restore": False}))
    newest.done("kill -HUP $(cat /run/docker.pid); sleep 1")
    kept = newest.kept()

    said = bring(newest.vm, site.mirror)

    newest.forget()
    since = site.mark()
    newest.done(WAYS["pull"])
    site.went_through(since)
    assert "restarted" in said[1]
    assert newest.kept() == kept
    assert bring(newest.vm, site.mirror) == ()
    assert newest.settings() == {
        **original,
        "live-restore": False,
        "proxies": {**proxies, "no-proxy": f"a.example,{HOST_NAME}"},
        provision.MIRRORS: [site.mirror],
    }


@pytest.mark.parametrize(
    "path", [survey.DOCKER_HOSTS, f"/root/{survey.BUILDX}", survey.CONTAINERD_HOSTS, DAEMON_JSON]
)
def test_a_file_that_is_not_valid_stops_everything_before_anything_is_changed(
    newest: Machine, site: Site, path: str
) -> None:
    bring(newest.vm, None)
    original, before = newest.settings(), newest.done(f"cat {DAEMON_JSON}")
    newest.write(path, "a = [")
    files = newest.files()
    try:
        with pytest.raises(VmregError, match=f"{path} in the VM is not valid"):
            bring(newest.vm, site.mirror)

        assert newest.files() == files
        assert provision.active_mirrors(newest.vm) == ()
        assert newest.done(f"cat {path}") == "a = ["
    finally:
        newest.done(f"rm {path}")
        newest.write(DAEMON_JSON, before)
    assert newest.settings() == original


@pytest.mark.usefixtures("cut_off")
def test_podman_pulls_through_the_cache_and_keeps_short_names(
    engine: Engine, provider: DockerProvider, site: Site
) -> None:
    name = f"podman-{uuid.uuid4().hex[:8]}"
    image = ensure(engine, recipe=PODMAN, pull=False)
    provider.create(VmSpec(name=name, image=image, network=site.hub.network, docker=False))
    machine = Machine(version="podman", vm=VmConnection(provider=provider, name=name))
    try:
        files = machine.files()
        said = bring(machine.vm, site.mirror)
        since = site.mark()
        machine.done(f"podman pull docker.io/library/{IMAGE}")
        site.went_through(since)
        # Debian's list of short names knows this one.
        machine.done(f"podman image rm --all --force; podman pull {IMAGE}")
        assert machine.done(f"podman run --rm --network none {IMAGE} echo runs") == "runs\n"

        assert said == (f"podman pulls through {site.mirror} ({survey.PODMAN_OURS})",)
        assert bring(machine.vm, site.mirror) == ()
        assert bring(machine.vm, None) == ("podman does without the cache",)
        assert machine.files() == files
    finally:
        provider.destroy(name)
