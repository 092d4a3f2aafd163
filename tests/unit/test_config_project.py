"""A project's own keys: places, precedence and faults."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.config_faults import shortened
from vmreg.config import Project, load, load_project
from vmreg.config.loading import gather
from vmreg.config.parsers import DOCKER_VERSIONS
from vmreg.config.project import check_name, evaluate
from vmreg.config.projectfile import KEYS
from vmreg.errors import ConfigError, Problem
from vmreg.units import format_size
from vmreg.vms.image import DEFAULT_VERSION, RELEASES

VERSION = "write one of: 20.10, 26.1, 28.5"
NAME = "write 1 to 63 letters, digits, -, _ and ., with a letter or a digit in front"
CPUS = "write a number from 0.01 on, such as 1.5"
RANGE = "write two numbers from 1 to 65535, such as [3000, 3009]"
SIZE = "write a size with its unit, such as 50GB or 512MiB"
NO_VERSION = "is not a Docker release that VMs can have"


class Place:
    """A home folder and the project folder ``shop``, written to by tests."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = base / "home"
        self.shop = base / "shop"
        self.cwd = self.shop / "deep" / "down"
        self.project = self.shop / "vm.yaml"
        self.user = self.home / "config.yaml"
        self.home.mkdir()
        self.cwd.mkdir(parents=True)

    def load(self, overrides: dict[str, str] | None = None, **variables: str) -> Project:
        environment = {"VM_HOME": str(self.home), **variables}
        return load_project(overrides=overrides, environment=environment, cwd=self.cwd)

    def faults(
        self, overrides: dict[str, str] | None = None, **variables: str
    ) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(overrides, **variables)
        assert caught.value.exit_code == 2
        return tuple(shortened(one, str(self.base)) for one in caught.value.problems)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_file_the_defaults_are_in_force(place: Place) -> None:
    assert place.load() == Project(
        provider="docker",
        name="down",
        cpus=0,
        memory_bytes=0,
        image="",
        ports=None,
        docker=True,
        docker_version="20.10",
        path=None,
        origins=dict.fromkeys(KEYS, "default"),
    )


def test_every_key_of_a_project(place: Place) -> None:
    place.project.write_text(
        "provider: docker\nproject: {name: till}\n"
        "vm:\n  cpus: 1.5\n  memory: 512MiB\n  image: mine:1\n"
        "ports:\n  _range: [3000, 3009]\n  web: 3001\n"
        "services:\n  docker: {enabled: false, version: 28}\n  web: {image: nginx}\n"
        "images: [node:20]\ndocker_registry: {port: 0}\n"
    )
    file = place.project
    assert place.load() == Project(
        provider="docker",
        name="till",
        cpus=1.5,
        memory_bytes=512 * 2**20,
        image="mine:1",
        ports=(3000, 3009),
        docker=False,
        docker_version="28.5",
        path=file,
        origins={
            "provider": f"{file}:1",
            "project.name": f"{file}:2",
            "vm.cpus": f"{file}:4",
            "vm.memory": f"{file}:5",
            "vm.image": f"{file}:6",
            "ports._range": f"{file}:8",
            "services.docker.enabled": f"{file}:11",
            "services.docker.version": f"{file}:11",
        },
    )


def test_each_place_is_stronger_than_the_one_below(place: Place) -> None:
    def found(overrides: dict[str, str] | None = None, **variables: str) -> tuple[float, str]:
        project = place.load(overrides, **variables)
        return project.cpus, project.origins["vm.cpus"]

    place.user.write_text("vm: {cpus: 1, memory: 1GB}\n")
    assert found() == (1, f"{place.user}:1")
    place.project.write_text("vm:\n  cpus: 2\n")
    assert found() == (2, f"{place.project}:2")
    assert found(VM_CPUS="3") == (3, "VM_CPUS")
    assert found({"vm.cpus": "0.5"}, VM_CPUS="3") == (0.5, "command line")
    assert place.load().memory_bytes == 10**9


def test_the_other_variables(place: Place) -> None:
    project = place.load(VM_MEMORY="2GiB", VM_IMAGE="mine", VM_DOCKER="26", VM_OTHER="theirs")
    assert (project.memory_bytes, project.image, project.docker_version) == (2**31, "mine", "26.1")


def test_a_range_may_be_one_port(place: Place) -> None:
    assert place.load({"ports._range": "3000, 3000"}).ports == (3000, 3000)


def test_an_empty_group_says_nothing(place: Place) -> None:
    place.project.write_text("project:\nvm:\nports:\nservices:\n  docker:\n")
    assert set(place.load().origins.values()) == {"default"}


def test_who_names_a_release_on_the_command_line_wants_a_docker(place: Place) -> None:
    place.project.write_text("services: {docker: false}\n")
    assert not place.load(VM_DOCKER="28").docker
    project = place.load({"services.docker.version": "28"})
    assert (project.docker, project.origins["services.docker.enabled"]) == (True, "command line")
    both = {"services.docker.version": "28", "services.docker.enabled": "false"}
    assert not place.load(both).docker


@pytest.mark.parametrize(
    ("written", "version"),
    [
        *((f"'{one}'", one) for one in DOCKER_VERSIONS),
        *((one, one) for one in DOCKER_VERSIONS),
        *((one.split(".")[0], one) for one in DOCKER_VERSIONS),
        *((f"'{one.split('.')[0]}'", one) for one in DOCKER_VERSIONS),
    ],
)
def test_releases_quoted_and_bare(place: Place, written: str, version: str) -> None:
    place.project.write_text(f"services: {{docker: {{version: {written}}}}}\n")
    assert place.load().docker_version == version


def test_there_is_an_image_for_every_release() -> None:
    assert tuple(one.version for one in RELEASES) == DOCKER_VERSIONS
    assert KEYS["services.docker.version"].default == DEFAULT_VERSION


@pytest.mark.parametrize(
    ("text", "path", "value", "message", "remedy"),
    [
        ("provider: vbox", "provider", "vbox", "is not a provider", "write one of: docker"),
        ("provider: [docker]", "provider", "[docker]", "is not a provider", "write one of: docker"),
        ("provider:", "provider", '""', "has no value", "write a value or remove the key"),
        ("project: shop", "project", "shop", "is not a mapping", "write keys below it"),
        ("project: {name: -a}", "project.name", "-a", "is not a name for a VM", NAME),
        ("project: {name: 5}", "project.name", "5", "is not a text", NAME),
        ("project: {nmae: a}", "project.nmae", "a", "is not a key", "did you mean project.name?"),
        ("vm: 2", "vm", "2", "is not a mapping", "write keys below it"),
        ("vm: {cpus: 0}", "vm.cpus", "0", "is not a number of CPUs", CPUS),
        ("vm: {cpus: true}", "vm.cpus", "true", "is not a number of CPUs", CPUS),
        ("vm: {cpus: '2'}", "vm.cpus", "2", "is not a number of CPUs", CPUS),
        ("vm: {cpus: .nan}", "vm.cpus", "nan", "is not a number of CPUs", CPUS),
        ("vm: {cpus: .inf}", "vm.cpus", "inf", "is not a number of CPUs", CPUS),
        (
            "vm: {memory: 4096}",
            "vm.memory",
            "4096",
            "has no unit",
            "write 4096MB, if megabytes are meant",
        ),
        ("vm: {memory: 0}", "vm.memory", "0", "has no unit", SIZE),
        ("vm: {memory: 0GB}", "vm.memory", "0GB", "is no room at all", SIZE),
        ("vm: {memory: true}", "vm.memory", "true", "is not a size", SIZE),
        (
            "vm: {memory: 5MB}",
            "vm.memory",
            "5MB",
            "is less than the 6MiB that an engine asks for",
            "write more, such as 512MB",
        ),
        ("vm: {disk: 5}", "vm.disk", "5", "is not a key", "remove it"),
        ("vm: {name: a}", "vm.name", "a", "is not a key", "did you mean project.name?"),
        (
            "ports: {_range: 3000-3009}",
            "ports._range",
            "3000-3009",
            "is not the lowest and the highest of a range",
            RANGE,
        ),
        (
            "ports: {_range: [1, 2, 3]}",
            "ports._range",
            "[1, 2, 3]",
            "is not the lowest and the highest of a range",
            RANGE,
        ),
        ("ports: {_range: [0, 9]}", "ports._range", "[0, 9]", "holds what is not a port", RANGE),
        (
            "ports: {_range: [true, 9]}",
            "ports._range",
            "[True, 9]",
            "holds what is not a port",
            RANGE,
        ),
        (
            "ports: {_range: [9, 8]}",
            "ports._range",
            "[9, 8]",
            "begins above its end",
            "write [8, 9]",
        ),
        (
            "ports: {range: [1, 2]}",
            "ports.range",
            "[1, 2]",
            "is not a key",
            "did you mean ports._range?",
        ),
        (
            "services: {docker: yes}",
            "services.docker",
            "yes",
            "is neither true, false nor a mapping",
            "write docker: true, or keys below it",
        ),
        (
            "services: {docker: {versoin: 28}}",
            "services.docker.versoin",
            "28",
            "is not a key",
            "did you mean services.docker.version?",
        ),
        ("Provider: docker", "Provider", "...", "is not a key", "did you mean provider?"),
        ("service: {}", "service", "...", "is not a key", "did you mean services?"),
        ("port: {}", "port", "...", "is not a key", "did you mean ports?"),
        ("vms: {}", "vms", "...", "is not a key", "did you mean vm?"),
    ],
)
def test_each_fault(  # noqa: PLR0917 - pytest gives them by name
    place: Place, text: str, path: str, value: str, message: str, remedy: str
) -> None:
    place.project.write_text(f"# mine\n{text}\n")
    assert place.faults() == (
        Problem(source="~/shop/vm.yaml:2", path=path, value=value, message=message, remedy=remedy),
    )


@pytest.mark.parametrize("version", ["24.0", "'20.1'", "'28.0'", "true", "[28]"])
def test_releases_that_there_are_not(place: Place, version: str) -> None:
    place.project.write_text(f"services:\n  docker:\n    version: {version}\n")
    (fault,) = place.faults()
    assert (fault.source, fault.path) == ("~/shop/vm.yaml:3", "services.docker.version")
    assert (fault.message, fault.remedy) == (NO_VERSION, VERSION)


@pytest.mark.parametrize(
    "text",
    [
        "version: 3\nnetworks: {}\nvolumes: {}\nimages: [a]\n1: 2\n",
        "vm: {cpus: 1}\nvms: [theirs]\n",
        "ports: {range: 5001, orange: 5002, all: [1, 2]}\n",
        "services: {web: true, dockerd: {image: a}}\n",
        "docker_registry: {nonsense: 1}\n",
        "dockerRegistry: true\n",
    ],
)
def test_what_belongs_to_others_is_left_alone(place: Place, text: str) -> None:
    place.project.write_text(text)
    assert place.load().path == place.project


def test_a_misspelt_key_is_told_by_one_of_the_two_alone(place: Place) -> None:
    place.project.write_text("dockerRegistry: true\nprovdier: docker\n")
    assert [one.path for one in place.faults()] == ["provdier"]
    with pytest.raises(ConfigError) as caught:
        load(environment={"VM_HOME": str(place.home)}, cwd=place.cwd)
    assert [one.path for one in caught.value.problems] == ["dockerRegistry"]


def test_faults_of_all_places_come_at_once_also_overridden_ones(place: Place) -> None:
    place.user.write_text("vm: {cpus: 0}\n")
    place.project.write_text("vm:\n  cpus: 0\n  memory: 1\nproject: 5\n")
    overrides = {"vm.cpus": "2", "vm.memroy": "4GB", "vm.image": "No Image"}
    assert [(one.source, one.path) for one in place.faults(overrides, VM_CPUS="\u0665")] == [
        ("~/home/config.yaml:1", "vm.cpus"),
        ("~/shop/vm.yaml:4", "project"),
        ("~/shop/vm.yaml:2", "vm.cpus"),
        ("~/shop/vm.yaml:3", "vm.memory"),
        ("VM_CPUS", "vm.cpus"),
        ("command line", "vm.memroy"),
        ("command line", "vm.image"),
    ]


def test_a_file_that_cannot_be_parsed(place: Place) -> None:
    place.project.write_text("a: [1\nb: 2\n")
    assert [one.source for one in place.faults()] == ["~/shop/vm.yaml:2"]


def test_a_users_file_may_not_say_what_belongs_to_one_project(place: Place) -> None:
    place.user.write_text("project: {name: a}\nports:\n  _range: [1, 2]\n")
    move = ("belongs to one project", "move it to the project's vm.yaml")
    assert [(one.source, one.path, one.message, one.remedy) for one in place.faults()] == [
        ("~/home/config.yaml:1", "project.name", *move),
        ("~/home/config.yaml:3", "ports._range", *move),
    ]


@settings(deadline=None)  # other work on the machine is no fault
@given(cpus=st.integers(1, 8192) | st.floats(0.01, 8192), size=st.integers(6 * 2**20, 2**50))
def test_limits_are_read_back_as_they_were_written(cpus: float, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = yaml.safe_dump({"vm": {"cpus": cpus, "memory": format_size(size)}})
        (Path(folder) / "vm.yaml").write_text(text)
        project = load_project(environment={"VM_HOME": folder}, cwd=Path(folder))
    assert (project.cpus, project.memory_bytes) == (cpus, size)


WORDS = st.sampled_from(sorted({part for path in KEYS for part in path.split(".")}))
VALUES = (None, True, 0, 28, 3000, 20.1, float("nan"), "", "28", "4GB", "a b", "\u00e9", "shop")
TREES = st.recursive(
    st.sampled_from(VALUES),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS | st.just(1), below),
    max_leaves=8,
)


@settings(deadline=None)  # other work on the machine is no fault
@given(tree=st.dictionaries(WORDS, TREES, max_size=5))
def test_whatever_a_file_holds_it_is_a_project_or_faults_with_their_lines(
    tree: dict[str, object],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vm.yaml"
        file.write_text(yaml.safe_dump(tree))
        sources = gather(environment={"VM_HOME": folder}, cwd=Path(folder))
        project, faults = evaluate(sources)
    assert all(one.source.startswith(f"{file}:") for one in faults)
    assert check_name(project.name) == project.name
    assert project.docker_version in DOCKER_VERSIONS
    assert project.cpus == 0 or 0.01 <= project.cpus <= 8192
