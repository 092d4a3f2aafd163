"""A project's VMs as ``vm.yaml`` and everything stronger and weaker than it describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmreg.config.initial import check_name, fit_name, init, init_text
from vmreg.config.layers import Layer
from vmreg.config.loading import DEFAULT, Sources, failure, gather
from vmreg.config.parsers import InvalidValueError
from vmreg.config.projectfile import (
    ENABLED,
    KEYS,
    NAME,
    RANGE,
    VERSION,
    from_document,
    from_environment,
    from_overrides,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from vmreg.errors import Problem

__all__ = [
    "Project",
    "check_name",
    "evaluate",
    "fit_name",
    "init",
    "init_text",
    "load_project",
]


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a project's VMs are made of.

    :param provider: what makes them.
    :param name: the project's, and its VM's where a command names none.
    :param cpus: limit, 0 for none.
    :param memory_bytes: limit, 0 for none.
    :param image: the provider's image reference; empty for ours with ``docker_version``.
    :param ports: the lowest and the highest host port that VMs may be given; ``None`` for none.
    :param docker: whether a dockerd runs in them.
    :param docker_version: major and minor number of its release.
    :param path: the ``vm.yaml`` that was found, or ``None``.
    :param origins: dotted path to ``default``, ``FILE:LINE``, a variable's name or
        ``command line``, for every key.
    """

    provider: str
    name: str
    cpus: float
    memory_bytes: int
    image: str
    ports: tuple[int, int] | None
    docker: bool
    docker_version: str
    path: Path | None
    origins: Mapping[str, str]


def load_project(
    *,
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Project:
    """Return the project in force; nothing is written, and a second call reads everything anew.

    Each key comes from the first place that has it: ``overrides``, its variable, the nearest
    ``vm.yaml``, the user's file, the default. ``docker_registry`` is not looked at, so that a
    faulty one does not keep anyone out of a VM: see :func:`vmreg.config.loading.load`.

    :param overrides: the command line's texts by dotted path, such as ``vm.cpus``.
    :param environment: the variables; those of the process when ``None``.
    :param cwd: where the search for ``vm.yaml`` begins; the current folder when ``None``.
    :raises ConfigError: with every fault in every place, also in values that are overridden.
    """
    project, problems = evaluate(gather(overrides=overrides, environment=environment, cwd=cwd))
    if problems:
        raise failure(problems)
    return project


def evaluate(sources: Sources) -> tuple[Project, tuple[Problem, ...]]:
    """Return the project and all that is wrong; faulty values are replaced by their defaults."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for layer in _layers(sources):
        problems += layer.problems
        for name, leaf in layer.leaves.items():
            try:
                values[name] = leaf.key.kind.parse(leaf.value)
            except InvalidValueError as fault:
                problems.append(leaf.problem(fault.message, fault.remedy))
            else:
                origins[name] = leaf.source
    return _project(sources, values, origins), tuple(problems)


def _layers(sources: Sources) -> Sequence[Layer]:
    """Return the layers, the strongest last."""
    file = sources.project
    return (
        from_document(sources.user, project=False),
        from_document(file, project=True) if file else Layer(),
        from_environment(sources.environment, base=sources.cwd),
        from_overrides(sources.overrides, base=sources.cwd),
    )


def _project(sources: Sources, values: Mapping[str, Any], origins: Mapping[str, str]) -> Project:
    path = sources.project.path if sources.project else None
    given: dict[str, Any] = {**{key.name: key.default for key in KEYS.values()}, **values}
    return Project(
        provider=given["provider"],
        name=given[NAME] or fit_name(path.parent if path else sources.cwd),
        cpus=given["vm.cpus"],
        memory_bytes=given["vm.memory"],
        image=given["vm.image"],
        ports=given[RANGE],
        docker=given[ENABLED],
        docker_version=given[VERSION],
        path=path,
        origins={name: origins.get(name, DEFAULT) for name in KEYS},
    )
