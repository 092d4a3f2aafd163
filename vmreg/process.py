"""The one place that runs other programs: argv lists, no shell, typed failures."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmreg.errors import HostError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

TAIL_LINES = 20
GRACE_S = 5


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
    tied: bool = False,
) -> Completed:
    """Run a program to its end and return what it printed.

    Whatever ends the wait early, a deadline or Ctrl-C, also ends the program and its children.

    :param argv: the program and its arguments; nothing is passed through a shell.
    :param check: raise when the exit status is not 0.
    :param timeout_s: seconds after which the program is ended.
    :param stdin: bytes for its standard input, which is empty otherwise.
    :param environment: replaces the environment when given.
    :param tied: also end the program when this very process is killed (util-linux's ``setpriv``).
    :raises HostError: the program is not installed or may not be run.
    :raises VmregError: it failed or ran out of time; the details carry its last lines.
    """
    process = _start(_tied(argv) if tied else argv, environment)
    try:
        output, errors = process.communicate(stdin or b"", timeout=timeout_s)
    except BaseException as error:
        output, errors = _end(process)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise VmregError(
            brief=f"{argv[0]} did not end within {timeout_s:g} s", details=_tail(errors or output)
        ) from error
    if check and process.returncode:
        raise VmregError(
            brief=f"{argv[0]} exited with {process.returncode}", details=_tail(errors or output)
        )
    return Completed(
        exit_code=process.returncode,
        output=output.decode(errors="replace"),
        errors=errors.decode(errors="replace"),
    )


def attached(argv: Sequence[str]) -> int:
    """Run a program on our own standard streams and return its exit status.

    Ctrl-C at the terminal is the program's alone meanwhile: it decides when it ends. Other signals
    that would end us are passed on to it.

    :raises HostError: the program is not installed or may not be run.
    """
    running: list[subprocess.Popen[bytes]] = []
    passed: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        passed.append(number)
        for process in running:
            process.send_signal(number)

    # A handler, unlike "ignored", is not inherited.
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: pass_on, signal.SIGHUP: pass_on}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with _may_be_missing(argv[0]):
            running.append(subprocess.Popen(list(argv)))
        for number in tuple(passed):  # those that came while it was being started
            running[0].send_signal(number)
        # Docker's own command line may say 0 when a signal ended it.
        return running[0].wait() or (128 + passed[0] if passed else 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(argv: Sequence[str], environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    with _may_be_missing(argv[0]):
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,  # so that its children can be ended with it
        )


def _tied(argv: Sequence[str]) -> list[str]:
    with _may_be_missing(argv[0]):
        if shutil.which(argv[0]) is None:
            raise FileNotFoundError
    return ["setpriv", "--pdeathsig", "TERM", *argv]


@contextmanager
def _may_be_missing(program: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise HostError(
            brief=f"{program} is not installed",
            resolution=f"Install the package that provides {program} and run the command again.",
        ) from error
    except PermissionError as error:
        raise HostError(brief=f"{program} may not be run", details=str(error)) from error


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """End a program and its children, kindly at first so that they can tidy up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=GRACE_S)
    return b"", b""


def _tail(output: bytes) -> str:
    return "\n".join(output.decode(errors="replace").splitlines()[-TAIL_LINES:])
