"""The one place that runs other programs: argv lists, no shell, typed failures."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAIL_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Completed:
    """What a program left behind.

    :param exit_code: its exit status.
    :param output: standard output, decoded.
    :param errors: standard error, decoded.
    """

    exit_code: int
    output: str
    errors: str


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout_s: float = 600,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program to its end and return what it printed.

    :param argv: the program and its arguments; nothing is passed through a shell.
    :param check: raise when the exit status is not 0.
    :param timeout_s: seconds after which the program is killed.
    :param stdin: bytes for its standard input.
    :param environment: replaces the environment when given.
    :raises HostError: the program is not installed.
    :raises VmregError: it failed or ran out of time; the details carry its last lines.
    """
    try:
        done = subprocess.run(
            list(argv),
            check=False,
            capture_output=True,
            timeout=timeout_s,
            input=stdin,
            env=dict(environment) if environment is not None else None,
        )
    except FileNotFoundError as error:
        raise HostError(
            brief=f"{argv[0]} is not installed",
            resolution=f"Install the package that provides {argv[0]} and run the command again.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise VmregError(brief=f"{argv[0]} did not end within {timeout_s:g} s") from error
    completed = Completed(
        exit_code=done.returncode,
        output=done.stdout.decode(errors="replace"),
        errors=done.stderr.decode(errors="replace"),
    )
    if check and completed.exit_code:
        tail = (completed.errors or completed.output).splitlines()[-TAIL_LINES:]
        raise VmregError(
            brief=f"{argv[0]} exited with {completed.exit_code}", details="\n".join(tail)
        )
    return completed
