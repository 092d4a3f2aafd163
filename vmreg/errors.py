"""Errors a person can act on, one exit code per kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(kw_only=True)
class VmregError(Exception):
    """Something failed, and this says what happened, what was found and what to do next.

    :param brief: one sentence, no full stop needed, that names the value and the place.
    :param details: what was found: several lines are fine (a container's last output, say).
    :param resolution: the next command or edit that helps.
    """

    brief: str
    details: str = ""
    resolution: str = ""
    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        """Return the message as a person reads it, parts on lines of their own."""
        return "\n".join(part for part in (self.brief, self.details, self.resolution) if part)


@dataclass(kw_only=True)
class UsageError(VmregError):
    """An argument is wrong."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One fault in the configuration.

    :param source: where the value was written: a file, a variable or ``command line``.
    :param path: dotted key, such as ``docker_registry.max_size``.
    :param value: the value as it was written, already masked when secret.
    :param message: what is wrong with it.
    :param remedy: what to write instead.
    """

    source: str
    path: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        """Return the fault on one line."""
        setting = f" {self.path} = {self.value}:" if self.path else ""
        return f"{self.source}:{setting} {self.message}; {self.remedy}"


@dataclass(kw_only=True)
class ConfigError(UsageError):
    """The configuration is invalid; every fault is listed at once."""

    problems: tuple[Problem, ...] = field(default=())

    def __str__(self) -> str:
        """Return the brief, then one line per fault, then the remedy."""
        lines = [self.brief, *(f"  {problem}" for problem in self.problems)]
        return "\n".join([*lines, self.resolution] if self.resolution else lines)


@dataclass(kw_only=True)
class NotRunningError(VmregError):
    """The registry, or a VM, is not running."""

    exit_code: ClassVar[int] = 3


@dataclass(kw_only=True)
class DegradedError(VmregError):
    """A part runs but is not healthy."""

    exit_code: ClassVar[int] = 4


@dataclass(kw_only=True)
class HostError(VmregError):
    """The host lacks something: no Docker, a port taken, a full disk."""

    exit_code: ClassVar[int] = 5


@dataclass(kw_only=True)
class CriterionError(VmregError):
    """A benchmark ran to its end and missed a criterion."""

    exit_code: ClassVar[int] = 6
