"""What keeps the repository's parts in step with one another."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from importlib import util
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from importlinter.cli import lint_imports
from invoke.collection import Collection
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = tuple(sorted((ROOT / ".github/workflows").glob("*.yml")))
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / ".ci/run", *WORKFLOWS)
SOURCES = (
    *(
        path
        for folder in ("vmreg", "bench", "tests", "configs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".j2", ".sh", ".conf"}
    ),
    *(ROOT / name for name in ("tasks.py", "noxfile.py", "inv", ".ci/run", ".ci/validate.py")),
)
MOST_LINES = 400


def _locked() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^([\w.-]+)==(\S+) \\$", text, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pinned}


def _wanted() -> list[Requirement]:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    groups = [project["dependencies"], PROJECT["build-system"]["requires"], *extras]
    return [Requirement(text) for group in groups for text in group]


def _root_tasks() -> Collection:
    spec = util.spec_from_file_location("root_tasks", ROOT / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.ns
    assert isinstance(found, Collection)
    return found


def _tasks() -> set[str]:
    return set(_root_tasks().task_names)


@pytest.mark.parametrize("wanted", _wanted(), ids=str)
def test_the_lock_file_covers_every_requirement(wanted: Requirement) -> None:
    assert _locked()[canonicalize_name(wanted.name)] in wanted.specifier


def test_the_lock_file_pins_by_hash_and_names_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=\S)", text)[1:]
    assert len(entries) == len(_locked())
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "index" not in text.replace("--hash", "").split("\n", 1)[0]


def test_the_wheel_holds_the_templates_and_the_code(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    held = set(zipfile.ZipFile(built).namelist())
    configs = {f"vmreg/configs/{path.name}" for path in (ROOT / "configs").iterdir()}
    assert configs
    assert configs <= held
    for package in ("vmreg", "bench"):
        parts = (ROOT / package).rglob("*")
        files = {path for path in parts if path.is_file() and "__pycache__" not in path.parts}
        assert {str(path.relative_to(ROOT)) for path in files} <= held
    assert not any(name.startswith(("tests/", "tasks")) for name in held)


def test_imports_run_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_every_ignore_has_its_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(r"# (noqa|type: ignore)[:\[]", line)
        and not re.search(r"# (noqa: [\w, ]+ - \S|type: ignore\[[\w, -]+\]  # \S)", line)
    ]
    assert bare == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_task_that_a_document_names_exists(path: Path) -> None:
    named = set(re.findall(r"\./inv ([a-z][\w.-]*[\w])", path.read_text()))
    assert named
    assert named <= _tasks()


def test_every_task_that_needs_an_engine_exists() -> None:
    line = re.search(r"^ +(.+)\) found=0 ;;$", (ROOT / "inv").read_text(), flags=re.MULTILINE)
    assert line is not None
    assert set(line[1].split(" | ")) <= _tasks()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_read_only_and_pin_their_actions(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def test_help_imports_nothing_heavy() -> None:
    """Every command line pays for what the root Collection imports."""
    from vmreg.process import run  # noqa: PLC0415 - the check is made in a process of its own

    script = (
        "import sys, tasks; heavy = {'docker', 'pydantic', 'jinja2', 'rich', 'matplotlib'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    assert run([sys.executable, "-c", script], environment=environment).output == "\n"
