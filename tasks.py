"""The root of all tasks: wiring, and a handful of thin ones for the developer."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.collection import Collection
from invoke.exceptions import Exit
from invoke.tasks import task

from bench import cli as bench
from vmreg.cli import registry, vm

if TYPE_CHECKING:
    from invoke.context import Context

ROOT = Path(__file__).resolve().parent
SUITES = ("unit", "integration", "e2e")
LEAST_COVERAGE_PERCENT = 85
USAGE = 2  # the exit code of a wrong argument


def _run(context: Context, tool: str, *arguments: str) -> None:
    """Run a tool of this environment in the checkout; its exit code becomes ours."""
    program = Path(sys.executable).parent / tool
    with context.cd(str(ROOT)):
        command = shlex.join([str(program), *arguments])
        context.run(command, in_stream=False, pty=sys.stdout.isatty())


@task(
    name="test",
    iterable=["only"],
    help={
        "only": "a suite: unit, integration or e2e; may be repeated (default: all three)",
        "keyword": "run the tests whose names match this pytest expression",
    },
)
def run_tests(context: Context, only: list[str] | None = None, keyword: str = "") -> None:
    """Run the tests: unit, then integration, then e2e, with one summary.

    All three together also measure coverage and fail below its threshold.
    """
    wanted = only or list(SUITES)
    if unknown := set(wanted) - set(SUITES):
        raise Exit(f"no such suite: {', '.join(sorted(unknown))}; choose from {SUITES}", USAGE)
    arguments = [f"tests/{suite}" for suite in SUITES if suite in wanted]
    if keyword:
        arguments += ["-k", keyword]
    elif len(arguments) == len(SUITES):
        report = "--cov-report=term-missing:skip-covered"
        arguments += ["--cov", report, f"--cov-fail-under={LEAST_COVERAGE_PERCENT}"]
    _run(context, "pytest", *arguments)


@task
def coverage(context: Context) -> None:
    """Show the line coverage of the last full test run, file by file."""
    _run(context, "coverage", "report")


@task
def lint(context: Context) -> None:
    """Check style, formatting and the direction of imports."""
    _run(context, "ruff", "check")
    _run(context, "ruff", "format", "--check")
    _run(context, "lint-imports")


@task
def types(context: Context) -> None:
    """Check types, strictly."""
    _run(context, "mypy")


ns = Collection(run_tests, coverage, lint, types, vm.ns, registry.ns, bench.ns)
