"""The wrapper as a program: a checkout of its own, with an environment that is quick to make."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from vmreg.process import Completed, run

ROOT = Path(__file__).resolve().parents[2]
INVOKE = '#!/bin/sh\nfor word in "$@"; do printf "<%s>" "$word"; done\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder that holds the wrapper and what it reads."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    shutil.copy(ROOT / "inv", folder)
    (folder / "vm").symlink_to("inv")
    (folder / "requirements.lock").write_text("# nothing\n")
    (folder / "pyproject.toml").write_text("[project]\nname = 'nothing'\nversion = '1'\n")
    return folder


@pytest.fixture
def ready(checkout: Path) -> Path:
    """Return such a folder whose environment is there, with programs that show their words."""
    programs = checkout / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    for name in ("invoke", "vm"):
        (programs / name).write_text(INVOKE)
        (programs / name).chmod(0o755)
    (checkout / ".venv/made-from").write_text(_stamp(checkout))
    return checkout


def _stamp(checkout: Path) -> str:
    content = b"".join(
        (checkout / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")
    )
    return f"{hashlib.sha256(content).hexdigest()}  - {checkout}\n"


def _inv(checkout: Path, *words: str, **environment: str) -> Completed:
    return run(
        [str(checkout / "inv"), *words], check=False, environment={**os.environ, **environment}
    )


def test_words_arrive_as_they_were_written(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    done = _inv(ready, "lint", "--name=two words", "", "*", "$HOME")
    assert done == Completed(
        exit_code=0,
        output=f"<--search-root><{ready}><lint><--name=two words><><*><$HOME>",
        errors="",
    )


def test_it_works_through_a_link(ready: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(ready / "inv")
    done = run([str(tmp_path / "linked"), "--list"])
    assert done.output == f"<--search-root><{ready}><--list>"


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--list",),
        ("-l",),
        ("--version",),
        ("--complete", "--", "registry.start"),
        ("registry.start", "--help"),
        ("--help=registry.start",),
        ("registry.config.show",),
        ("registry.status",),
        ("lint", "types"),
        ("test", "--only", "unit"),
        (),
    ],
    ids=" ".join,
)
def test_what_needs_no_engine_does_without(ready: Path, words: tuple[str, ...]) -> None:
    done = _inv(ready, *words, DOCKER_HOST=f"unix://{ready}/nothing.sock")
    assert (done.exit_code, done.errors) == (0, "")
    assert done.output.endswith("".join(f"<{word}>" for word in words))


@pytest.mark.parametrize(
    "words", [("registry.start",), ("lint", "bench.savings", "-l"), ("test",)], ids=" ".join
)
def test_what_needs_an_engine_asks_for_it(ready: Path, words: tuple[str, ...]) -> None:
    done = _inv(ready, *words, DOCKER_HOST=f"unix://{ready}/nothing.sock")
    assert (done.exit_code, done.output) == (5, "")
    assert done.errors == f"inv: nothing answers at DOCKER_HOST=unix://{ready}/nothing.sock\n"


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("--help",), False),
        (("list",), False),
        (("create", "--help"), False),
        (("registry", "status"), False),
        (("create", "frontend"), True),
        (("exec", "create", "--", "-h"), False),
        (("registry", "start"), True),
    ],
    ids=str,
)
def test_the_vm_command_asks_for_an_engine_when_it_needs_one(
    ready: Path, words: tuple[str, ...], *, needed: bool
) -> None:
    nowhere = f"unix://{ready}/nothing.sock"
    environment = {**os.environ, "DOCKER_HOST": nowhere}
    done = run([str(ready / "vm"), *words], check=False, environment=environment)
    if needed:
        told = f"vm: nothing answers at DOCKER_HOST={nowhere}\n"
        assert done == Completed(exit_code=5, output="", errors=told)
    else:
        assert done.output == "".join(f"<{word}>" for word in words)


def test_an_engine_that_answers_is_used(ready: Path) -> None:
    done = _inv(ready, "registry.start", DOCKER_HOST="unix:///var/run/docker.sock")
    assert (done.exit_code, done.errors) == (0, "")
    assert done.output.endswith("<registry.start>")


def test_an_engine_elsewhere_is_left_to_the_task(ready: Path) -> None:
    done = _inv(ready, "registry.start", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.output.endswith("<registry.start>")


def test_an_environment_whose_making_failed_is_never_believed(checkout: Path) -> None:
    for _ in range(2):  # this project cannot be installed: the lock file lacks its build system
        done = _inv(checkout, "--list")
        assert done.exit_code == 5
        assert "could not be installed into" in done.errors
        assert (checkout / ".venv/bin/python").exists()
        assert not (checkout / ".venv/made-from").exists()


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_file_makes_the_environment_stale(ready: Path, name: str) -> None:
    with (ready / name).open("a") as file:
        file.write("# changed\n")
    assert f"making {ready}/.venv" in _inv(ready, "--list").errors


def test_a_moved_checkout_is_stale(ready: Path) -> None:
    moved = ready.rename(ready.with_name("moved"))
    assert f"making {moved}/.venv" in _inv(moved, "--list").errors
