"""Layers, origins and defaults."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from vmreg import config
from vmreg.config import RegistrySettings, Settings, load
from vmreg.config.files import line_of, parse, read
from vmreg.config.keys import all_keys, value_of
from vmreg.config.layers import from_document
from vmreg.config.loading import gather

DEFAULTS = Path(__file__).parents[2] / "configs" / "defaults.yaml"


class Place:
    """A home folder and a project folder, written to by tests."""

    def __init__(self, base: Path) -> None:
        self.home = base / "home"
        self.cwd = base / "project" / "deep" / "down"
        self.project = base / "project" / "vm.yaml"
        self.user = self.home / "config.yaml"
        self.home.mkdir()
        self.cwd.mkdir(parents=True)

    def load(self, overrides: dict[str, str] | None = None, **variables: str) -> Settings:
        return load(
            overrides=overrides,
            environment={"VM_HOME": str(self.home), **variables},
            cwd=self.cwd,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_any_file_the_defaults_are_in_force(place: Place) -> None:
    settings = place.load()
    assert settings.registry == RegistrySettings()
    assert set(settings.origins.values()) == {"default"}
    assert settings.state_dir == place.home / "registry"
    assert settings.network_name == "vm-registry"
    assert settings.proxy_name == "vm-registry-proxy"
    assert settings.storage_name == "vm-registry-storage"


def test_each_place_is_stronger_than_the_one_below(place: Place) -> None:
    key = "docker_registry.port"
    place.user.write_text("# mine\ndocker_registry:\n  port: 5001\n")
    assert place.load().registry.port == 5001
    assert place.load().origins[key] == f"{place.user}:3"
    place.project.write_text("project: {name: x}\ndocker_registry: {port: 5002}\n")
    assert place.load().registry.port == 5002
    assert place.load().origins[key] == f"{place.project}:2"
    settings = place.load(VM_REGISTRY_PORT="5003")
    assert (settings.registry.port, settings.origins[key]) == (5003, "VM_REGISTRY_PORT")
    settings = place.load({key: "5004"}, VM_REGISTRY_PORT="5003")
    assert (settings.registry.port, settings.origins[key]) == (5004, "command line")


def test_places_are_merged_key_by_key_and_lists_are_replaced(place: Place) -> None:
    place.user.write_text(
        "docker_registry:\n  bind: [127.0.0.1, 10.0.0.1]\n  upstream: {timeout: 5s}\n"
    )
    place.project.write_text("docker_registry:\n  bind: [10.0.0.2]\n  upstream: {network: lab}\n")
    registry = place.load().registry
    assert registry.bind == ("10.0.0.2",)
    assert registry.upstream.timeout == timedelta(seconds=5)
    assert registry.upstream.network == "lab"


@pytest.mark.parametrize(("word", "enabled"), [("true", True), ("false", False)])
def test_shorthand(place: Place, word: str, enabled: bool) -> None:  # noqa: FBT001 - a case
    place.project.write_text(f"docker_registry: {word}\n")
    settings = place.load()
    assert settings.registry.enabled is enabled
    assert settings.origins["docker_registry.enabled"] == f"{place.project}:1"


@pytest.mark.parametrize("text", ["", "# nothing\n", "docker_registry:\n", "a: 1\nb: !x 2\n"])
def test_files_that_say_nothing(place: Place, text: str) -> None:
    place.project.write_text(text)
    place.user.write_text("docker_registry:\n  upstream:\n  credentials:\n")
    assert place.load().registry == RegistrySettings()


def test_the_nearest_project_file_counts(place: Place) -> None:
    place.project.write_text("docker_registry: {port: 5001}\n")
    (place.cwd / "vm.yaml").write_text("docker_registry: {max_size: 1GB}\n")
    registry = place.load().registry
    assert (registry.port, registry.max_size) == (5000, 1_000_000_000)


def test_variables_are_typed(place: Place) -> None:
    registry = place.load(
        VM_REGISTRY_ENABLED="True",
        VM_REGISTRY_LRU_CLEANUP="false",
        VM_REGISTRY_BIND="127.0.0.1, 10.0.0.1,127.0.0.1",
        VM_REGISTRY_UPSTREAM_REDIRECT_HOSTS="",
        VM_REGISTRY_UPSTREAM_URL="HTTPS://Hub.Example.com:443/",
        VM_REGISTRY_UPSTREAM_TOKEN_URL="",
        VM_REGISTRY_GC_POLICY="2w",
        VM_REGISTRY_IMAGES_STORAGE="registry:2",
    ).registry
    assert registry.enabled is True
    assert registry.lru_cleanup is False
    assert registry.bind == ("127.0.0.1", "10.0.0.1")
    assert registry.upstream.redirect_hosts == ()
    assert registry.upstream.url == "https://hub.example.com:443"
    assert registry.upstream.token_url == ""
    assert registry.gc_policy == timedelta(weeks=2)
    assert registry.images.storage == "registry:2"


def test_every_key_has_its_own_variable() -> None:
    variables = [key.variable for key in all_keys().values()]
    assert len(set(variables)) == len(variables)
    assert all_keys()["upstream.ca_file"].variable == "VM_REGISTRY_UPSTREAM_CA_FILE"


def test_paths_begin_where_they_are_written(place: Place, tmp_path: Path) -> None:
    secret = place.home / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    place.user.write_text(
        "docker_registry:\n  repositories: [library/*]\n"
        "  credentials: {username: me, password_file: secret}\n"
    )
    credentials = place.load().registry.credentials
    assert credentials is not None
    assert credentials.password_file == secret
    assert credentials.password() == "hunter2"
    assert "hunter2" not in repr(place.load())
    (place.cwd / "other").write_text("x")
    (place.cwd / "other").chmod(0o600)
    variables = {all_keys()["credentials.password_file"].variable: "other"}
    moved = place.load(None, **variables).registry.credentials
    assert moved is not None
    assert moved.password_file == place.cwd / "other"
    assert tmp_path in moved.password_file.parents


def test_a_password_file_above_replaces_a_password_command_below(place: Place) -> None:
    secret = place.home / "secret"
    secret.write_text("x\n")
    secret.chmod(0o600)
    place.user.write_text(
        "docker_registry:\n  repositories: [library/*]\n"
        "  credentials: {username: me, password_command: [pass, hub]}\n"
    )
    below = place.load().registry.credentials
    assert below is not None
    assert below.password_command == ("pass", "hub")
    above = place.load(VM_REGISTRY_CREDENTIALS_PASSWORD_FILE=str(secret)).registry.credentials
    assert above is not None
    assert above.password_command == ()


@pytest.mark.parametrize(
    ("variables", "home"),
    [
        ({"HOME": "/h"}, "/h/.vm"),
        ({"HOME": "/h", "VM_HOME": ""}, "/h/.vm"),
        ({"HOME": "/h", "VM_HOME": "~/x"}, "/h/x"),
        ({"HOME": "/h", "VM_HOME": "/y"}, "/y"),
    ],
)
def test_home(variables: dict[str, str], home: str, tmp_path: Path) -> None:
    assert gather(environment=variables, cwd=tmp_path).home == Path(home)


def test_a_key_merged_from_an_anchor_has_the_line_of_the_merge() -> None:
    text = "b: &b\n  port: 1\ndocker_registry:\n  <<: *b\n"
    document = parse(Path("vm.yaml"), text)
    assert line_of(document, ("docker_registry", "port")) == 3


def test_the_documented_defaults_are_the_defaults() -> None:
    layer = from_document(read(DEFAULTS), project=False)
    assert layer.problems == ()
    for name, key in all_keys().items():
        if name.startswith("credentials."):
            continue
        leaf = layer.leaves[name]
        settings = Settings(home=Path("/"), registry=RegistrySettings(), origins={})
        assert key.kind.parse(leaf.value) == value_of(settings, key), name


def test_every_key_is_documented() -> None:
    lines = DEFAULTS.read_text().splitlines()
    for name in all_keys():
        last = name.rpartition(".")[2]
        found = [n for n, line in enumerate(lines) if line.strip(" #").startswith(f"{last}:")]
        assert found, name
        assert lines[found[0] - 1].strip().startswith("#"), f"{name} has no comment above it"


def test_importing_the_package_loads_nothing_slow() -> None:
    code = (
        "import sys, vmreg.config, vmreg.cli.config, vmreg.cli.common\n"
        "slow = {'pydantic', 'ruamel', 'rich', 'docker', 'jinja2'}\n"
        "print(sorted(slow & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        config.nonsense  # noqa: B018 - the access is the test
