"""From the layers to the settings in force, or to everything that is wrong with them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from vmreg.config import rules
from vmreg.config.files import USER_FILE, Document, home_of, project_file, read
from vmreg.config.keys import SECRETIVE, all_keys
from vmreg.config.layers import Layer, Leaf, from_document, from_environment, from_overrides
from vmreg.config.model import RegistrySettings, Settings
from vmreg.config.parsers import InvalidValueError
from vmreg.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT = "default"
_EITHER = (f"{SECRETIVE}.password_file", f"{SECRETIVE}.password_command")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the configuration comes from.

    :param user: the user's own file, parsed.
    :param project: the nearest ``vm.yaml``, parsed; ``None`` without one.
    """

    home: Path
    cwd: Path
    user: Document
    project: Document | None
    environment: Mapping[str, str]
    overrides: Mapping[str, str]


def load(
    *,
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Return the settings in force; nothing is written, and a second call reads everything anew.

    Each key comes from the first place that has it: ``overrides``, its variable, the nearest
    ``vm.yaml``, the user's file, the default.

    :param overrides: the command line's values by dotted path, as texts, lists with commas.
    :param environment: the variables; those of the process when ``None``.
    :param cwd: where the search for ``vm.yaml`` begins; the current folder when ``None``.
    :raises ConfigError: with every fault in every place, also in values that are overridden.
    """
    settings, problems = evaluate(gather(overrides=overrides, environment=environment, cwd=cwd))
    if problems:
        raise failure(problems)
    return settings


def failure(problems: Sequence[Problem]) -> ConfigError:
    """Return the error that lists ``problems``."""
    count = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
    return ConfigError(
        brief=f"the configuration has {count}",
        problems=tuple(problems),
        resolution="Correct them and run the command again.",
    )


def gather(
    *,
    overrides: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Sources:
    """Read the files; the parameters are those of :func:`load`. Nothing is raised."""
    variables = os.environ if environment is None else environment
    folder = (cwd or Path.cwd()).absolute()
    home, project = home_of(variables), project_file(folder)
    return Sources(
        home=home,
        cwd=folder,
        user=read(home / USER_FILE),
        project=read(project, found=True) if project else None,
        environment=variables,
        overrides=overrides or {},
    )


def evaluate(sources: Sources) -> tuple[Settings, tuple[Problem, ...]]:
    """Return the settings and all that is wrong; faulty values are replaced by their defaults."""
    checked = [_checked(layer) for layer in _layers(sources)]
    leaves = _merged([good for good, _ in checked])
    problems = [problem for _, found in checked for problem in found]
    settings = Settings(
        home=sources.home,
        registry=_validated(leaves),
        origins={
            key.path: leaves[key.name].source if key.name in leaves else DEFAULT
            for key in all_keys().values()
        },
    )
    project = sources.project
    context = rules.Context(
        settings=settings,
        project=(project.path, project.root) if project else None,
        faulty=frozenset(problem.path.partition(".")[2] for problem in problems),
    )
    return settings, (*_home_problems(sources.home), *problems, *rules.check(context))


def _layers(sources: Sources) -> list[Layer]:
    """Return the layers, the strongest last."""
    project = sources.project
    return [
        from_document(sources.user, project=False),
        from_document(project, project=True) if project else Layer(),
        from_environment(sources.environment, base=sources.cwd),
        from_overrides(sources.overrides, base=sources.cwd),
    ]


def _home_problems(home: Path) -> list[Problem]:
    if home.is_absolute() and not set(str(home)) & set(":\n\r\0"):
        return []
    return [
        Problem(
            source="VM_HOME",
            path="VM_HOME",
            value=repr(str(home)),
            message="is not an absolute path, or holds a colon, which Docker takes for a separator",
            remedy="write an absolute path without colons",
        )
    ]


def _checked(layer: Layer) -> tuple[dict[str, Leaf], list[Problem]]:
    """Return a layer's usable leaves, and its problems."""
    try:
        _validated(layer.leaves)
    except ValidationError as error:
        found = {}
        for one in error.errors(include_url=False):
            name = ".".join(str(part) for part in one["loc"])
            fault = one["ctx"]["error"]
            assert isinstance(fault, InvalidValueError)  # noqa: S101 - only parsers refuse
            found[name] = layer.leaves[name].problem(fault.message, fault.remedy)
        good = {name: leaf for name, leaf in layer.leaves.items() if name not in found}
        return good, [*layer.problems, *found.values()]
    return dict(layer.leaves), list(layer.problems)


def _merged(layers: Sequence[Mapping[str, Leaf]]) -> dict[str, Leaf]:
    """Return one leaf per key, the last layer's. A password's two sources replace each other."""
    merged: dict[str, Leaf] = {}
    for leaves in layers:
        if any(name in leaves for name in _EITHER):
            merged = {name: leaf for name, leaf in merged.items() if name not in _EITHER}
        merged.update(leaves)
    return merged


@cache
def _adapter() -> TypeAdapter[RegistrySettings]:
    return TypeAdapter(RegistrySettings)


def _validated(leaves: Mapping[str, Leaf]) -> RegistrySettings:
    tree: dict[str, object] = {}
    for name, leaf in leaves.items():
        group, _, last = name.rpartition(".")
        branch = tree.setdefault(group, {}) if group else tree
        assert isinstance(branch, dict)  # noqa: S101 - for the type checker
        branch[last] = _anchored(leaf)
    return _adapter().validate_python(tree, context={"written": True})


def _anchored(leaf: Leaf) -> object:
    """Return a leaf's value; a relative path becomes absolute."""
    if not leaf.key.kind.is_path or not isinstance(leaf.value, str) or not leaf.value:
        return leaf.value
    return str(leaf.base / Path(leaf.value).expanduser())
