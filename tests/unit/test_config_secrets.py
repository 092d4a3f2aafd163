"""Where passwords come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmreg.config import Credentials
from vmreg.errors import ConfigError, HostError, VmregError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


def test_from_a_private_file(secret: Path) -> None:
    credentials = Credentials(username="me", password_file=secret)
    assert credentials.password() == "hunter2"
    assert "hunter2" not in repr(credentials)


def test_a_file_that_became_readable_by_others_is_refused(secret: Path) -> None:
    secret.chmod(0o640)
    with pytest.raises(ConfigError) as caught:
        Credentials(username="me", password_file=secret).password()
    assert caught.value == ConfigError(
        brief=f"the password file {secret} can be used by others (mode 0640)",
        resolution=f"run: chmod 600 {secret}",
    )


def test_a_file_that_went_away(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        Credentials(username="me", password_file=tmp_path / "absent").password()


def test_a_file_that_is_no_text(secret: Path) -> None:
    secret.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Credentials(username="me", password_file=secret).password()


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n"])
def test_anything_but_one_line_is_refused_and_not_shown(secret: Path, content: str) -> None:
    secret.write_text(content)
    with pytest.raises(VmregError) as caught:
        Credentials(username="me", password_file=secret).password()
    assert caught.value == VmregError(
        brief=f"{secret} did not give a password",
        details=f"found {len(content.splitlines())} lines where one is wanted",
        resolution="Put the password alone on the only line.",
    )


def test_from_a_command() -> None:
    credentials = Credentials(username="me", password_command=("echo", "hunter2"))
    assert credentials.password() == "hunter2"
    assert "hunter2" not in repr(credentials)


def test_a_command_that_fails_tells_why_but_not_what_it_printed() -> None:
    argv = ("sh", "-c", "echo hunter2; echo locked >&2; exit 3")
    with pytest.raises(VmregError) as caught:
        Credentials(username="me", password_command=argv).password()
    assert caught.value == VmregError(
        brief="the password command sh exited with 3",
        details="locked",
        resolution="Run it by hand: it has to print the password and nothing else.",
    )


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(HostError, match="is not installed"):
        Credentials(username="me", password_command=("/nonexistent/pass",)).password()
