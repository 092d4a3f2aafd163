from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

import pytest

from bench import provenance
from vmreg.process import run

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_outside_any_checkout_has_no_commit(tmp_path: Path) -> None:
    assert provenance.commit(tmp_path) == ("unknown", False)


def git(folder: Path, *words: str) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    run(["git", "-C", str(folder), *author, *words])


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "tracked").write_text("one")
    git(tmp_path, "add", "tracked")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_a_commit_is_dirty_only_when_tracked_files_differ(checkout: Path) -> None:
    head, dirty = provenance.commit(checkout)
    assert re.fullmatch(r"[0-9a-f]{40}", head)
    assert not dirty
    (checkout / "untracked").write_text("two")
    assert provenance.commit(checkout) == (head, False)
    (checkout / "tracked").write_text("two")
    assert provenance.commit(checkout) == (head, True)


def test_an_installation_inside_another_checkout_is_not_that_one(checkout: Path) -> None:
    inner = checkout / "venv"
    inner.mkdir()
    assert provenance.commit(inner) == ("unknown", False)


def test_the_host_is_this_one() -> None:
    found = provenance.host(docker="20.10.24")
    assert found.kernel == platform.release()
    assert found.docker == "20.10.24"
    assert found.cores >= 1
    assert found.memory_bytes > 2**26
    assert found.cpu


def test_a_processor_without_a_name_is_the_machines_type() -> None:
    assert provenance.cpu_model("processor\t: 0\nBogoMIPS\t: 100\n") == platform.machine()
    assert provenance.cpu_model("model name\t: Fast 9000 @ 3: GHz\n") == "Fast 9000 @ 3: GHz"
