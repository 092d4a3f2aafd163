"""Loads a faulty configuration and returns its problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmreg.config import load
from vmreg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path


def faults(
    tmp_path: Path,
    *,
    user: str = "",
    project: str | None = None,
    overrides: dict[str, str] | None = None,
    variables: dict[str, str] | None = None,
) -> tuple[Problem, ...]:
    """Return the problems of a configuration, the folder in their texts replaced by ``~``."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "config.yaml").write_text(user)
    if project is not None:
        (tmp_path / "vm.yaml").write_text(project)
    with pytest.raises(ConfigError) as caught:
        load(
            overrides=overrides,
            environment={"VM_HOME": str(home), **(variables or {})},
            cwd=tmp_path,
        )
    assert caught.value.exit_code == 2
    return tuple(shortened(problem, str(tmp_path)) for problem in caught.value.problems)


def shortened(problem: Problem, folder: str) -> Problem:
    """Return a problem with a folder in its texts replaced by ``~``."""
    names = ("source", "path", "value", "message", "remedy")
    texts = {name: str(getattr(problem, name)).replace(folder, "~") for name in names}
    return Problem(**texts)


def user_fault(path: str, value: str, message: str, remedy: str, *, line: int = 2) -> Problem:
    source = f"~/home/config.yaml:{line}"
    return Problem(
        source=source,
        path=f"docker_registry.{path}",
        value=value,
        message=message,
        remedy=remedy,
    )
