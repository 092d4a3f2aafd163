"""Faults of files, of places and of combinations, by equality with the whole problem."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.unit.config_faults import faults, user_fault
from vmreg.config import load
from vmreg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

PORT = "write a number from 1 to 65535"
MOVE = "move them to config.yaml in your own folder (vm registry config path shows where)"


def file_fault(source: str, message: str, remedy: str) -> Problem:
    return Problem(source=source, path="", value="", message=message, remedy=remedy)


NO_FILE = file_fault("~/vm.yaml", "is not a file", "correct its name, or make it one")


@pytest.mark.parametrize(
    ("text", "line", "message", "remedy"),
    [
        (
            "a: [1\nb: 2\n",
            ":2",
            "is not valid YAML: expected ',' or ']', but got ':'",
            "correct that line",
        ),
        ("a: 1\n---\nb: 2\n", ":2", "is not valid YAML: but found another document", None),
        ("a: *x\n", ":1", "is not valid YAML: found undefined alias 'x'", None),
        ("- a\n", "", "does not hold keys and values", "begin it with docker_registry:"),
        ("a: hunter2\na: hunter3\n", ":2", "has a twice", "keep one of them"),
        (
            "a: \x01\n",
            "",
            "is not valid YAML: unacceptable character #x0001: special characters are not allowed",
            "correct the file",
        ),
    ],
)
def test_files_that_cannot_be_parsed(
    tmp_path: Path, text: str, line: str, message: str, remedy: str | None
) -> None:
    found = faults(tmp_path, project=text)
    remedy = remedy or "correct that line"
    assert found == (file_fault(f"~/vm.yaml{line}", message, remedy),)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").mkdir()
    assert faults(tmp_path) == (NO_FILE,)


def test_a_link_that_leads_nowhere_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").symlink_to("nowhere.yaml")
    assert faults(tmp_path) == (NO_FILE,)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vm.yaml")
    assert faults(tmp_path) == (NO_FILE,)


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text("# much\n" * 20_000)
    assert faults(tmp_path) == (
        file_fault("~/vm.yaml", "is larger than 100000 bytes", "make it smaller"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: " + "[" * 3000, "it nests too deep"),
        ("a: &a {<<: *a}\n", "an anchor is merged into itself"),
    ],
    ids=["deep", "itself"],
)
def test_what_the_parser_trips_over_is_a_fault(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "vm.yaml").write_text(text)
    told = f"is not valid YAML: {reason}"
    assert faults(tmp_path) == (file_fault("~/vm.yaml", told, "correct the file"),)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_bytes(b"a: \xff\n")
    assert faults(tmp_path) == (
        file_fault("~/vm.yaml", "is not UTF-8 (invalid start byte)", "save it as UTF-8"),
    )


def test_a_misspelt_root(tmp_path: Path) -> None:
    assert faults(tmp_path, project="x: 1\ndockerRegistry: true\n") == (
        Problem(
            source="~/vm.yaml:2",
            path="dockerRegistry",
            value="...",
            message="is not a key",
            remedy="did you mean docker_registry?",
        ),
    )


def test_a_root_that_is_neither_word_nor_mapping(tmp_path: Path) -> None:
    assert faults(tmp_path, project="docker_registry: on\n") == (
        Problem(
            source="~/vm.yaml:1",
            path="docker_registry",
            value="on",
            message="is neither true, false nor a mapping",
            remedy="write docker_registry: true, or keys below it",
        ),
    )


def test_unknown_variables_and_overrides(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        variables={"VM_REGISTRY_PROT": "1", "VM_REGISTRY_CREDENTIALS_PASSWORD": "hunter2"},
        overrides={"docker_registry.max_syze": "1GB"},
    )
    assert found == (
        Problem(
            source="VM_REGISTRY_CREDENTIALS_PASSWORD",
            path="VM_REGISTRY_CREDENTIALS_PASSWORD",
            value="*****",
            message="is not a variable of this program",
            remedy="did you mean VM_REGISTRY_CREDENTIALS_PASSWORD_FILE?",
        ),
        Problem(
            source="VM_REGISTRY_PROT",
            path="VM_REGISTRY_PROT",
            value="1",
            message="is not a variable of this program",
            remedy="did you mean VM_REGISTRY_PORT?",
        ),
        Problem(
            source="command line",
            path="docker_registry.max_syze",
            value="1GB",
            message="is not a key",
            remedy="did you mean max_size?",
        ),
    )


def test_texts_that_are_no_values(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        variables={
            "VM_REGISTRY_ENABLED": "1",
            "VM_REGISTRY_PORT": "\u0665",
            "VM_REGISTRY_CREDENTIALS_PASSWORD_COMMAND": "pass hub",
        },
    )
    assert [(one.source, one.value, one.message) for one in found] == [
        ("VM_REGISTRY_CREDENTIALS_PASSWORD_COMMAND", "*****", "cannot be given as a text"),
        ("VM_REGISTRY_ENABLED", "1", "is not true or false"),
        ("VM_REGISTRY_PORT", "\u0665", "is not a port"),
    ]


def test_faults_of_all_places_come_at_once_also_overridden_ones(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        user="docker_registry: {port: 0}\n",
        project="docker_registry: {port: 0}\n",
        variables={"VM_REGISTRY_PORT": "0", "VM_REGISTRY_MAX_SIZE": "1"},
        overrides={"docker_registry.port": "5000"},
    )
    assert [(one.source, one.path) for one in found] == [
        ("~/home/config.yaml:1", "docker_registry.port"),
        ("~/vm.yaml:1", "docker_registry.port"),
        ("VM_REGISTRY_PORT", "docker_registry.port"),
        ("VM_REGISTRY_MAX_SIZE", "docker_registry.max_size"),
    ]


def test_the_port_is_outside_of_the_projects_range(tmp_path: Path) -> None:
    project = "ports:\n  _range: [5000, 5009]\n  web: 5001\n"
    assert faults(tmp_path, project=project) == (
        Problem(
            source="default",
            path="docker_registry.port",
            value="5000",
            message="lies within ports._range [5000, 5009] of ~/vm.yaml, which VMs use",
            remedy="choose a port outside of that range",
        ),
    )


def test_http_needs_a_second_word(tmp_path: Path) -> None:
    user = "docker_registry:\n  upstream: {url: 'http://a.b', token_url: 'http://a.b/t'}\n"
    message = "is not encrypted, so that anyone on the way can change what is asked for"
    remedy = "write https://, or set docker_registry.upstream.allow_http to true"
    assert faults(tmp_path, user=user) == (
        user_fault("upstream.url", "http://a.b", message, remedy),
        user_fault("upstream.token_url", "http://a.b/t", message, remedy),
    )
    (tmp_path / "home" / "config.yaml").write_text(user.replace("{url", "{allow_http: true, url"))
    settings = load(environment={"VM_HOME": str(tmp_path / "home")}, cwd=tmp_path)
    assert settings.registry.upstream.url == "http://a.b"


def test_certificates(tmp_path: Path) -> None:
    user = "docker_registry:\n  upstream: {ca_file: ca.pem}\n"
    remedy = "name a PEM file with the upstream's CA certificates"
    assert faults(tmp_path, user=user) == (
        user_fault(
            "upstream.ca_file",
            "~/home/ca.pem",
            "cannot be read (No such file or directory)",
            remedy,
        ),
    )
    (tmp_path / "home" / "ca.pem").write_text("no certificate\n")
    assert faults(tmp_path, user=user) == (
        user_fault("upstream.ca_file", "~/home/ca.pem", "holds no PEM certificate", remedy),
    )


def test_credentials_need_repositories_a_token_service_and_both_halves(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        user="docker_registry:\n  credentials: {password_command: [a]}\n"
        "  upstream: {token_url: ''}\n",
    )
    assert found == (
        Problem(
            source="default",
            path="docker_registry.credentials.username",
            value='""',
            message="is missing",
            remedy="add the account's name",
        ),
        Problem(
            source="default",
            path="docker_registry.repositories",
            value='""',
            message="is empty, so that every VM could read all that the account can",
            remedy="list what VMs may pull, such as [library/*, myteam/*], "
            "or remove the credentials",
        ),
        user_fault(
            "upstream.token_url",
            '""',
            "is empty, but credentials are only ever given to a token service",
            "name the upstream's token service, or remove the credentials",
            line=3,
        ),
    )


@pytest.mark.parametrize(
    ("rest", "value", "message", "remedy"),
    [
        (
            "password_file: secret, password_command: [a]",
            "~/home/secret",
            "stands beside a password_command",
            "keep one of them",
        ),
        (
            "password_file: absent",
            "~/home/absent",
            "cannot be read (No such file or directory)",
            "name a file that exists",
        ),
        (
            "password_file: secret",
            "~/home/secret",
            "can be used by others (mode 0644)",
            "run: chmod 600 ~/home/secret",
        ),
        (
            "password_file: .",
            "~/home",
            "is not a file",
            "name a file with the password in its only line",
        ),
    ],
)
def test_password_files(tmp_path: Path, rest: str, value: str, message: str, remedy: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_text("hunter2\n")
    (tmp_path / "home" / "secret").chmod(0o644)
    user = f"docker_registry:\n  credentials: {{username: me, {rest}}}\n  repositories: [a]\n"
    assert faults(tmp_path, user=user) == (
        user_fault("credentials.password_file", value, message, remedy),
    )


def test_a_password_from_nowhere(tmp_path: Path) -> None:
    user = "docker_registry:\n  credentials: {username: me}\n  repositories: [a]\n"
    assert faults(tmp_path, user=user) == (
        Problem(
            source="default",
            path="docker_registry.credentials.password_file",
            value='""',
            message="is missing, and so is a password_command",
            remedy="add one of the two",
        ),
    )


def test_a_project_may_not_hold_credentials(tmp_path: Path) -> None:
    project = "docker_registry:\n  credentials: {username: me, password: hunter2}\n"
    assert faults(tmp_path, project=project) == (
        Problem(
            source="~/vm.yaml:2",
            path="docker_registry.credentials",
            value="*****",
            message="credentials may not stand in a project's file, "
            "which others can read and write",
            remedy=MOVE,
        ),
    )


def test_a_project_may_not_decide_over_credentials(tmp_path: Path) -> None:
    user = (
        "docker_registry:\n  credentials: {username: me, password_command: [a]}\n"
        "  repositories: [library/*]\n"
    )
    project = "docker_registry:\n  port: 5001\n  upstream: {url: https://evil.example}\n"
    assert faults(tmp_path, user=user, project=project) == (
        Problem(
            source="~/vm.yaml:3",
            path="docker_registry.upstream.url",
            value="https://evil.example",
            message="comes from a project's file, and would decide over your credentials",
            remedy="move it to your own config.yaml, or remove the credentials",
        ),
    )


@pytest.mark.parametrize("home", ["relative", "/a:b", "/a\nb"])
def test_a_home_that_docker_cannot_mount(tmp_path: Path, home: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={"VM_HOME": home}, cwd=tmp_path)
    assert caught.value.problems == (
        Problem(
            source="VM_HOME",
            path="VM_HOME",
            value=repr(home),
            message="is not an absolute path, or holds a colon, which Docker takes for a separator",
            remedy="write an absolute path without colons",
        ),
    )


def test_a_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    found = faults(tmp_path, user='docker_registry:\n  "a\\e[2J": "b\\e[2J"\n')
    assert (found[0].path, found[0].value) == (r"docker_registry.a\x1b[2J", r"b\x1b[2J")


def test_the_message_lists_every_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environment={"VM_HOME": str(tmp_path), "VM_REGISTRY_PORT": "0"}, cwd=tmp_path)
    assert str(caught.value) == (
        "the configuration has 1 fault\n"
        f"  VM_REGISTRY_PORT: docker_registry.port = 0: is not a port; {PORT}\n"
        "Correct them and run the command again."
    )


def test_a_timeout_that_leaves_no_time(tmp_path: Path) -> None:
    (tmp_path / "vm.yaml").write_text("docker_registry: {upstream: {timeout: 3s}}\n")
    assert faults(tmp_path) == (
        Problem(
            source="~/vm.yaml:1",
            path="docker_registry.upstream.timeout",
            value="3s",
            message="is too short for the steps of one answer",
            remedy="write 4s or more",
        ),
    )
