"""Three Dockers pull and build through the cache, with the hub out of reach, and do without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.machines import IMAGE, WAYS, Machine, Site, machine_of, open_site
from vmreg import accesslog
from vmreg.serving import HOST_NAME
from vmreg.vms import provision
from vmreg.vms.image import RELEASES
from vmreg.vms.provider import DAEMON_JSON
from vmreg.vms.reconcile import provision as bring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmreg.engine import Engine
    from vmreg.vms.docker import DockerProvider


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(engine, tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture(scope="module", params=[one.version for one in RELEASES])
def machine(
    request: pytest.FixtureRequest, engine: Engine, provider: DockerProvider, site: Site
) -> Iterator[Machine]:
    with machine_of(str(request.param), engine, provider, site) as made:
        yield made


@pytest.fixture
def provisioned(machine: Machine, site: Site) -> Machine:
    bring(machine.vm, site.mirror)
    return machine


@pytest.fixture
def cut_off(site: Site) -> Iterator[None]:
    with site.hub_cut_off():
        yield


def test_a_vm_comes_to_the_mirror_and_away_from_it_unharmed(machine: Machine, site: Site) -> None:
    before, files, kept = machine.settings(), machine.files(), machine.kept()

    assert bring(machine.vm, None) == ()
    said = bring(machine.vm, site.mirror)

    assert said[0] == f"dockerd pulls through {site.mirror}"
    assert any("restarted" in one for one in said) == (machine.version == "20.10")
    assert any("buildx" in one for one in said) == (machine.version != "20.10")
    plain = {provision.INSECURE: [site.mirror]} if machine.version != "28.5" else {}
    assert machine.settings() == {**before, provision.MIRRORS: [site.mirror], **plain}
    assert provision.active_mirrors(machine.vm) == (site.mirror,)
    assert bring(machine.vm, site.mirror) == ()

    assert bring(machine.vm, None)[0] == "dockerd does without the cache"
    assert bring(machine.vm, None) == ()
    assert machine.settings() == before
    assert machine.files() == files
    assert provision.active_mirrors(machine.vm) == ()
    assert machine.kept() == kept
    assert kept.startswith("true ")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("cut_off")
def test_with_the_hub_cut_off_everything_comes_from_the_cache(
    provisioned: Machine, site: Site, way: str
) -> None:
    provisioned.forget()
    since, kept = site.mark(), provisioned.kept()

    provisioned.done(WAYS[way])

    site.went_through(since)
    assert provisioned.kept() == kept


@pytest.mark.parametrize("way", WAYS)
def test_without_the_mirror_nothing_asks_the_cache(machine: Machine, site: Site, way: str) -> None:
    bring(machine.vm, None)
    since = site.mark()

    # BuildKit remembers for minutes where to look for a repository: this one is new to it.
    machine.done(WAYS[way].replace(IMAGE, "python:3.12"))

    assert list(accesslog.edge(site.log, offset=since)) == []


@pytest.mark.usefixtures("cut_off")
def test_a_mirror_in_another_place_is_the_only_one_afterwards(machine: Machine, site: Site) -> None:
    bring(machine.vm, f"http://{HOST_NAME}:1")
    bring(machine.vm, site.mirror)
    machine.forget()
    since = site.mark()

    machine.done(WAYS["pull"])

    site.went_through(since)
    assert machine.settings()[provision.MIRRORS] == [site.mirror]
    assert f"{HOST_NAME}:1" not in machine.done(f"cat {DAEMON_JSON}").split('"')


def test_a_cache_that_is_off_does_not_stop_a_pull(provisioned: Machine, site: Site) -> None:
    provisioned.forget()
    since = site.hub.mark()
    site.stack.stop()
    try:
        provisioned.done(WAYS["pull"])
    finally:
        site.stack.start()

    assert any("/library/busybox/manifests/" in one.uri for one in site.hub.requests(since))


def test_a_new_builder_of_buildx_is_told_of_the_mirror_and_reaches_it(
    machine: Machine, site: Site
) -> None:
    bring(machine.vm, None)
    path = "/root/.docker/buildx/buildkitd.default.toml"
    if machine.version == "20.10":  # which has no buildx
        bring(machine.vm, site.mirror)
        assert machine.vm.exec(["test", "-e", path]).exit_code == 1
        return
    machine.write(path, "debug = true\n")
    bring(machine.vm, site.mirror)
    # There is no buildkitd in the image: what counts is what its container was given.
    machine.vm.exec(
        ["docker", "buildx", "create", "--driver=docker-container", "--bootstrap", "--name=b",
         f"--driver-opt=image={IMAGE}"]
    )  # fmt: skip

    given = machine.done("docker cp buildx_buildkit_b0:/etc/buildkit/buildkitd.toml - | tar -xO")
    machine.vm.exec(["sh", "-c", "docker buildx rm b; docker rm --force buildx_buildkit_b0"])
    address = given.partition('mirrors = ["')[2].partition('"')[0]
    since = site.mark()
    machine.done(f"docker run --rm {IMAGE} wget -q -O - http://{address}/v2/")

    assert "debug = true" in given
    assert "/v2/" in site.served(since)
    bring(machine.vm, None)
    assert machine.done(f"cat {path}") == "debug = true\n"
    machine.done(f"rm {path}")
