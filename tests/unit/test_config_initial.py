"""Names that VMs can have, and a project's first ``vm.yaml``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vmreg.config import Project, load, load_project
from vmreg.config.change import change
from vmreg.config.parsers import DOCKER_VERSIONS
from vmreg.config.project import check_name, fit_name, init, init_text
from vmreg.config.projectfile import KEYS
from vmreg.errors import HostError, UsageError

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
NAME = "Write 1 to 63 letters, digits, -, _ and ., with a letter or a digit in front."


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def loaded(shop: Path) -> Project:
    return load_project(environment={"VM_HOME": str(shop.parent / "home")}, cwd=shop)


@settings(deadline=None)  # other work on the machine is no fault
@given(name=NAMES)
def test_names_that_vms_can_have(name: str) -> None:
    assert check_name(name) == name
    assert yaml.safe_load(init_text(name))["project"] == {"name": name}


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "\u00e9", "a\n", "a" * 64])
def test_names_that_vms_cannot_have(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_name(name)
    assert caught.value == UsageError(brief=f"{name!r} is not a name for a VM", resolution=NAME)


@settings(deadline=None)  # other work on the machine is no fault
@given(name=st.text(min_size=1).filter(lambda one: "/" not in one))
def test_every_folder_gives_a_name(name: str) -> None:
    fitted = fit_name(Path("/", name))
    assert check_name(fitted) == fitted


@settings(deadline=None)  # other work on the machine is no fault
@given(name=NAMES.filter(lambda one: one[-1] not in "-_."))
def test_a_folder_whose_name_fits_keeps_it(name: str) -> None:
    assert fit_name(Path("/", name)) == name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/home/me/My Caf\u00e9 (new)", "My-Cafe-new"),
        ("/srv/.hidden", "hidden"),
        ("/srv/" + "a" * 62 + "-b", "a" * 62),
        ("/srv/\u5e97", "vm"),
        ("/", "vm"),
    ],
)
def test_a_folder_whose_name_does_not_fit(folder: str, name: str) -> None:
    assert fit_name(Path(folder)) == name


def test_a_first_file_loads_without_faults(shop: Path) -> None:
    path, text = init(shop)
    assert (path, path.read_text(), path.stat().st_mode & 0o777) == (
        (shop / "vm.yaml"),
        text,
        0o644,
    )
    project = loaded(shop)
    assert (project.name, project.docker_version, project.ports) == ("shop", "20.10", (3000, 3009))
    assert 1 <= project.cpus <= 2
    environment = {"VM_HOME": str(shop.parent / "home")}
    assert load(environment=environment, cwd=shop).registry.enabled
    change("port", "5001", project=True, environment=environment, cwd=shop)
    assert loaded(shop) == project


def test_a_first_file_has_every_key_of_a_project_and_each_is_explained() -> None:
    text = init_text("shop")
    said = yaml.safe_load(text)
    assert said == {
        "provider": "docker",
        "project": {"name": "shop"},
        "vm": {"cpus": 2, "memory": "4GB", "image": ""},
        "ports": {"_range": [3000, 3009]},
        "services": {"docker": True},
        "docker_registry": True,
    }
    named = {f"services.docker.{one}" for one in ("enabled", "version")}
    named |= {f"{group}.{one}" for group in ("project", "vm", "ports") for one in said[group]}
    assert {"provider", *named} == set(KEYS)
    assert all(key.variable in text for key in KEYS.values())
    assert all(version in text for version in DOCKER_VERSIONS)


def test_a_file_that_is_there_is_kept_unless_forced(shop: Path) -> None:
    (shop / "vm.yaml").write_text("mine: 1\n")
    for dry in (True, False):
        with pytest.raises(UsageError) as caught:
            init(shop, dry=dry)
        assert str(shop / "vm.yaml") in caught.value.brief
        assert "--force" in caught.value.resolution
    init(shop, force=True, dry=True)
    assert (shop / "vm.yaml").read_text() == "mine: 1\n"
    _, text = init(shop, name="till", force=True)
    assert (shop / "vm.yaml").read_text() == text
    assert loaded(shop).name == "till"


def test_nothing_is_written_that_is_dry_or_wrong(shop: Path) -> None:
    _, text = init(shop, dry=True)
    assert text.endswith("docker_registry: true\n")
    with pytest.raises(UsageError):
        init(shop, name="a b")
    assert not list(shop.iterdir())


def test_a_file_that_cannot_be_written_leaves_nothing_half_done(shop: Path) -> None:
    (shop / "vm.yaml").mkdir()
    with pytest.raises(HostError):
        init(shop, force=True)
    assert [one.name for one in shop.iterdir()] == ["vm.yaml"]


def test_a_link_that_leads_nowhere_yet_is_a_file_too(shop: Path) -> None:
    (shop / "vm.yaml").symlink_to(shop.parent / "shared.yaml")
    with pytest.raises(UsageError):
        init(shop)
    init(shop, force=True)
    assert (shop / "vm.yaml").is_symlink()
    assert (shop.parent / "shared.yaml").read_text().endswith("docker_registry: true\n")
