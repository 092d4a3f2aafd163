"""Setting a key in a file: checked first, then replaced at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from vmreg.config.change import Change, change
from vmreg.errors import ConfigError, HostError, Problem, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Place:
    def __init__(self, base: Path) -> None:
        self.home = base / "deep" / "home"
        self.cwd = base / "project"
        self.cwd.mkdir()
        self.user = self.home / "config.yaml"
        self.project = self.cwd / "vm.yaml"

    def set(self, key: str, text: str, *, project: bool = False, dry: bool = False) -> Change:
        return change(
            key,
            text,
            project=project,
            dry=dry,
            environment={"VM_HOME": str(self.home)},
            cwd=self.cwd,
        )

    def write(self, text: str) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.user.write_text(text)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_file_and_its_folders_are_made(place: Place) -> None:
    done = place.set("port", "5001")
    assert place.user.read_text() == "docker_registry:\n  port: 5001\n"
    assert place.user.stat().st_mode & 0o777 == 0o600
    assert (done.settings.registry.port, done.before) == (5001, "")
    assert sorted(one.name for one in place.home.iterdir()) == ["config.lock", "config.yaml"]


def test_the_project_file_is_changed_when_asked(place: Place) -> None:
    place.project.write_text("provider: docker\ndocker_registry: true  # on\n")
    place.set("docker_registry.max_size", "20GB", project=True)
    assert place.project.read_text() == (
        "provider: docker\ndocker_registry:  # on\n  enabled: true\n  max_size: 20GB\n"
    )
    assert not place.user.exists()


def test_without_a_project_file_nothing_is_made(place: Place) -> None:
    with pytest.raises(UsageError) as caught:
        place.set("port", "5001", project=True)
    assert caught.value == UsageError(
        brief=f"there is no vm.yaml in {place.cwd} or above it",
        resolution="Make one (an empty vm.yaml will do), or leave out --project.",
    )


@pytest.mark.parametrize(
    ("key", "text"), [("port", "70000"), ("gc_policy", "30"), ("upstream.url", "http://a.b")]
)
def test_a_bad_value_leaves_the_file_alone(place: Place, key: str, text: str) -> None:
    before = "# mine\ndocker_registry:\n  port: 5001\n"
    place.write(before)
    with pytest.raises(ConfigError):
        place.set(key, text)
    assert place.user.read_text() == before


def test_an_unknown_key_is_refused_with_a_hint(place: Place) -> None:
    with pytest.raises(ConfigError) as caught:
        place.set("prot", "1")
    assert caught.value.problems == (
        Problem(
            source="command line",
            path="docker_registry.prot",
            value='""',
            message="is not a key",
            remedy="did you mean port?",
        ),
    )


def test_a_list_of_arguments_needs_an_editor(place: Place) -> None:
    with pytest.raises(ConfigError) as caught:
        place.set("credentials.password_command", "pass hub")
    assert caught.value.problems[0].message == "cannot be given as a text"


def test_a_malformed_file_is_not_touched(place: Place) -> None:
    place.write("docker_registry: [\n")
    with pytest.raises(ConfigError) as caught:
        place.set("port", "1")
    assert caught.value.problems[0].source.startswith(f"{place.user}:")
    assert place.user.read_text() == "docker_registry: [\n"


def test_faults_that_were_there_before_can_be_corrected_one_by_one(place: Place) -> None:
    place.write("docker_registry:\n  port: 0\n  max_size: 1\n")
    place.set("max_size", "1GB")
    assert place.user.read_text() == "docker_registry:\n  port: 0\n  max_size: 1GB\n"
    with pytest.raises(ConfigError):
        place.set("port", "-1")
    assert place.set("port", "5001").settings.registry.port == 5001


def test_what_is_missing_beside_the_value_is_told_not_refused(place: Place) -> None:
    done = place.set("credentials.username", "me")
    assert [problem.path for problem in done.incomplete] == [
        "docker_registry.repositories",
        "docker_registry.credentials.password_file",
    ]
    place.set("repositories", "library/*")
    (place.cwd / "secret").write_text("hunter2\n")
    (place.cwd / "secret").chmod(0o600)
    done = place.set("credentials.password_file", "secret")
    assert done.incomplete == ()
    credentials = done.settings.registry.credentials
    assert credentials is not None
    assert credentials.password() == "hunter2"


def test_a_project_never_gets_credentials(place: Place) -> None:
    place.project.write_text("")
    with pytest.raises(ConfigError):
        place.set("credentials.username", "me", project=True)
    assert place.project.read_text() == ""


def test_a_path_is_kept_relative_to_the_project(place: Place) -> None:
    place.project.write_text("")
    with pytest.raises(ConfigError) as caught:
        place.set("upstream.ca_file", "certs/ca.pem", project=True, dry=True)
    assert caught.value.problems[0].value == f"{place.cwd}/certs/ca.pem"


def test_dry_changes_nothing_at_all(place: Place) -> None:
    done = place.set("port", "5001", dry=True)
    assert done.after == "docker_registry:\n  port: 5001\n"
    assert not place.home.exists()


def test_mode_and_link_are_kept(place: Place, tmp_path: Path) -> None:
    place.home.mkdir(parents=True)
    real = tmp_path / "dotfiles.yaml"
    real.write_text("docker_registry:\n  port: 5001\n")
    real.chmod(0o640)
    place.user.symlink_to(real)
    place.set("port", "5002")
    assert place.user.is_symlink()
    assert real.read_text() == "docker_registry:\n  port: 5002\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_the_same_value_again_writes_nothing(place: Place) -> None:
    place.set("port", "5001")
    first = place.user.stat().st_ino
    done = place.set("port", "5001")
    assert done.before == done.after
    assert place.user.stat().st_ino == first


def test_simultaneous_changes_all_arrive(place: Place) -> None:
    wanted = {"port": "5001", "max_size": "1GB", "gc_policy": "2d", "fetch_size": "2GB"}
    threads = [threading.Thread(target=place.set, args=pair) for pair in wanted.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = place.user.read_text()
    assert all(f"  {key}: {value}\n" in text for key, value in wanted.items())


def test_a_home_that_is_a_file(place: Place) -> None:
    place.home.parent.mkdir()
    place.home.write_text("")
    with pytest.raises(HostError, match="cannot be used"):
        place.set("port", "5001")


def test_a_folder_that_cannot_be_written(place: Place) -> None:
    place.home.mkdir(parents=True)
    place.user.symlink_to("/proc/nothing/config.yaml")
    with pytest.raises(HostError, match="cannot be written"):
        place.set("port", "5001")
    assert {one.name for one in place.home.iterdir()} == {"config.yaml", "config.lock"}
