"""Checks in environments of their own, made from the lock file: ``nox``, ``nox -s types``."""

from __future__ import annotations

import tomllib
from pathlib import Path

import nox

LOCK = "requirements.lock"
PIP_TOOLS = "pip-tools==7.6.2"  # not in the lock: it needs pip and setuptools, which are not pinned
TEST_TOOLS = ("hypothesis", "jsonschema", "pytest", "pytest-cov")

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "imports", "unit", "integration"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True


def _install_locked(session: nox.Session) -> None:
    """Make the session's environment what ``./inv`` makes of ``.venv``."""
    session.install("--no-deps", "--require-hashes", "--requirement", LOCK)
    session.install("--no-deps", "--no-build-isolation", "--no-index", "--editable", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    _install_locked(session)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    _install_locked(session)
    session.run("mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Check that imports run one way."""
    _install_locked(session)
    session.run("lint-imports")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no Docker."""
    _install_locked(session)
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
def integration(session: nox.Session) -> None:
    """Run the tests against a real nginx, registry and engine."""
    _install_locked(session)
    session.run("pytest", "tests/integration", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the tests with VMs."""
    _install_locked(session)
    session.run("pytest", "tests/e2e", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the savings benchmark; arguments after ``--`` replace the quick profile."""
    _install_locked(session)
    session.run("invoke", "bench.savings", *(session.posargs or ("--profile", "quick")))


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the unit tests with the oldest version of every direct dependency."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["bench"]]
    session.install(*(one.replace(">=", "==") for one in wanted), *TEST_TOOLS)
    session.install("--no-deps", "--editable", ".")
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write the lock file anew, with the newest version of everything."""
    session.install(PIP_TOOLS)
    session.run(
        "pip-compile",
        "--all-extras",
        "--build-deps-for=editable",
        "--generate-hashes",
        "--strip-extras",
        "--upgrade",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-emit-trusted-host",
        "--no-header",
        "--no-annotate",
        "--quiet",
        f"--output-file={LOCK}",
        "pyproject.toml",
    )
    path = Path(LOCK)
    header = "# Every package with its version and hashes. Made by: nox -s lock\n"
    path.write_text(header + path.read_text())
