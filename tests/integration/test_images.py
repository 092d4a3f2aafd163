"""Component images against a real engine and real Debian packages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from vmreg import images, waiting
from vmreg.engine import ContainerSpec, Engine
from vmreg.errors import HostError, VmregError
from vmreg.images import RECIPE_LABEL, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
UNIQUE = uuid.uuid4().hex[:8]
TINY = Recipe(
    name=f"test-{UNIQUE}",
    suite="bookworm",
    packages=("netbase",),
    hooks=('echo "made for a test" > "$1/greeting"',),
)
REFUSED = "127.0.0.1:1/absent@sha256:" + "0" * 64


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    connected = Engine.connect(owner=f"test-images-{UNIQUE}")
    yield connected
    for container in connected.list():
        connected.remove(container.id)
    connected.remove_image(TINY.reference)
    connected.close()


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def built(engine: Engine, said: list[str]) -> str:
    """Return the tiny image, built after a pull that was refused."""
    return images.ensure(engine, recipe=TINY, pinned=REFUSED, progress=said.append)


def test_a_refused_pull_ends_in_a_build(engine: Engine, built: str, said: list[str]) -> None:
    assert built == TINY.reference
    assert [line.split()[0] for line in said] == ["pulling", "not", "building", "built"]
    image_id = engine.image_id(built)
    assert image_id is not None
    assert image_id.removeprefix("sha256:")[:12] in said[-1]


def test_what_was_built_carries_its_recipe_and_runs(engine: Engine, built: str) -> None:
    client = docker.from_env()
    assert client.images.get(built).labels == {RECIPE_LABEL: TINY.digest}
    client.close()
    name = f"test-images-{UNIQUE}"
    script = "cat /greeting; test -s /etc/services && test ! -e /usr/share/doc/netbase"
    engine.run(ContainerSpec(name=name, image=built, command=("sh", "-c", script)))
    assert b"".join(engine.follow(name)) == b"made for a test\n"
    assert engine.inspect(name).exit_code == 0
    engine.remove(name)


def test_what_is_present_is_neither_pulled_nor_built(engine: Engine, built: str) -> None:
    said: list[str] = []
    assert images.ensure(engine, recipe=TINY, pinned=REFUSED, progress=said.append) == built
    assert images.ensure(engine, recipe=TINY, configured=built, progress=said.append) == built
    absent = Recipe(name=f"absent-{UNIQUE}", suite="bookworm", packages=())
    assert images.ensure(engine, recipe=absent, pinned=built, progress=said.append) == built
    assert said == []


def test_what_a_user_configured_is_never_replaced(engine: Engine) -> None:
    with pytest.raises(VmregError, match=r"pull 127[.]0[.]0[.]1:1/chosen:1"):
        images.ensure(engine, recipe=TINY, configured="127.0.0.1:1/chosen:1")


@pytest.mark.usefixtures("built")
def test_present_says_what_ensure_would_settle_on(engine: Engine) -> None:
    assert images.present(engine, recipe=TINY) == TINY.reference
    assert images.present(engine, recipe=TINY, pinned=REFUSED) == TINY.reference
    assert images.present(engine, recipe=TINY, configured="vmreg/absent:1") == ""


def test_a_package_that_does_not_exist_is_named(engine: Engine) -> None:
    recipe = Recipe(name=f"bad-{UNIQUE}", suite="bookworm", packages=("no-such-package-here",))
    with pytest.raises(VmregError, match="mmdebstrap exited") as caught:
        images.build(engine, recipe, progress=lambda _: None)
    assert "no-such-package-here" in caught.value.details
    assert engine.image_id(recipe.reference) is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_ended_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    script = (
        "from tests.integration.test_images import TINY, Engine, images;"
        "images.build(Engine.connect(owner='none'), TINY, progress=lambda _: None)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    program = subprocess.Popen([sys.executable, "-c", script], env=environment)

    def building() -> bool | None:
        return True if list(tmp_path.glob("vmreg-build-*/mmdebstrap*/etc")) else None

    def cleared() -> bool | None:
        if number == signal.SIGKILL:  # the next build, or the end of a VM, clears up
            images.sweep()
        return None if list(tmp_path.iterdir()) else True

    waiting.until(building, what="the build", timeout_s=30)
    program.send_signal(number)
    program.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        waiting.until(cleared, what="the end of mmdebstrap and of its files", timeout_s=30)


def test_packages_are_not_taken_unverified(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(images, "KEYRING", tmp_path / "keyring.gpg")
    with pytest.raises(HostError, match="cannot be verified") as caught:
        images.build(engine, TINY, progress=lambda _: None)
    assert "debian-archive-keyring" in caught.value.resolution


def test_the_reference_changes_with_anything_in_the_recipe() -> None:
    variants = (
        TINY,
        Recipe(name=TINY.name, suite="trixie", packages=TINY.packages, hooks=TINY.hooks),
        Recipe(name=TINY.name, suite=TINY.suite, packages=("adduser",), hooks=TINY.hooks),
        Recipe(name=TINY.name, suite=TINY.suite, packages=TINY.packages),
        Recipe(name="other", suite=TINY.suite, packages=TINY.packages, hooks=TINY.hooks),
    )
    assert len({variant.reference for variant in variants}) == len(variants)
    again = Recipe(name=TINY.name, suite=TINY.suite, packages=TINY.packages, hooks=TINY.hooks)
    assert again.reference == TINY.reference
