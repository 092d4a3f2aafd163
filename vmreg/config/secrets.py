"""Passwords: read when needed, from a private file or a program, and kept nowhere."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from vmreg.config.parsers import InvalidValueError
from vmreg.errors import ConfigError, VmregError

if TYPE_CHECKING:
    from pathlib import Path

COMMAND_TIMEOUT_S = 60


def check_private(path: Path) -> None:
    """Raise a :class:`InvalidValueError` unless ``path`` is a file that only its owner can use."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidValueError(
            f"cannot be read ({error.strerror})", remedy="name a file that exists"
        ) from error
    if not stat.S_ISREG(mode):
        raise InvalidValueError(
            "is not a file", remedy="name a file with the password in its only line"
        )
    if mode & 0o077:
        raise InvalidValueError(
            f"can be used by others (mode {stat.S_IMODE(mode):04o})",
            remedy=f"run: chmod 600 {path}",
        )


def read(path: Path) -> str:
    """Return the only line of a private file.

    :raises ConfigError: it cannot be read, or others can read it too.
    :raises VmregError: it is not one line.
    """
    try:
        check_private(path)
        content = path.read_text(encoding="utf-8")
    except InvalidValueError as fault:
        raise ConfigError(
            brief=f"the password file {path} {fault.message}", resolution=fault.remedy
        ) from fault
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(brief=f"the password file {path} cannot be read") from error
    return _only_line(content, origin=str(path))


def ask(argv: tuple[str, ...]) -> str:
    """Run a program and return the only line that it printed.

    :raises HostError: it is not installed.
    :raises VmregError: it failed, or did not print one line; what it printed is never shown.
    """
    from vmreg.process import run  # noqa: PLC0415 - start-up time

    done = run(argv, check=False, timeout_s=COMMAND_TIMEOUT_S)
    if done.exit_code:
        raise VmregError(
            brief=f"the password command {argv[0]} exited with {done.exit_code}",
            details=done.errors.strip(),
            resolution="Run it by hand: it has to print the password and nothing else.",
        )
    return _only_line(done.output, origin=argv[0])


def _only_line(content: str, *, origin: str) -> str:
    lines = content.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise VmregError(
            brief=f"{origin} did not give a password",
            details=f"found {len(lines)} lines where one is wanted",
            resolution="Put the password alone on the only line.",
        )
    return lines[0]
