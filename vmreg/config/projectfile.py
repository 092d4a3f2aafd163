"""What each place says about a project's VMs: its keys, and the layers that hold them.

Groups are strict where all their keys are ours. ``services`` and ``ports`` hold more than that,
and so does the top level: there, only what is close to a key of ours is taken for a slip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vmreg.config import kinds
from vmreg.config.files import PROJECT_FILE, Document, line_of
from vmreg.config.keys import Key, printable, suggestion, written
from vmreg.config.layers import (
    COMMAND_LINE,
    MISSPELT_LIKENESS,
    Layer,
    Leaf,
    from_text,
    layer_of,
)
from vmreg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ProjectKey(Key):
    """One setting of a project's VMs.

    :param name: its dotted path.
    :param default: the value where no place names one.
    :param named: the variable that sets it; empty for none.
    :param shared: whether the user's own file may set it for every project.
    """

    default: Any = None
    named: str = ""
    shared: bool = True

    @property
    def path(self) -> str:
        """The dotted path as a person writes it."""
        return self.name

    @property
    def variable(self) -> str:
        """The environment variable that sets it; empty for none."""
        return self.named


NAME, RANGE, DOCKER = "project.name", "ports._range", "services.docker"
ENABLED, VERSION = f"{DOCKER}.enabled", f"{DOCKER}.version"
KEYS: Mapping[str, ProjectKey] = {
    key.name: key
    for key in (
        ProjectKey(name="provider", kind=kinds.PROVIDER, default="docker"),
        # Its default is the folder's name.
        ProjectKey(name=NAME, kind=kinds.VM_NAME, shared=False),
        ProjectKey(name="vm.cpus", kind=kinds.CPUS, default=0.0, named="VM_CPUS"),
        ProjectKey(name="vm.memory", kind=kinds.MEMORY, default=0, named="VM_MEMORY"),
        ProjectKey(name="vm.image", kind=kinds.IMAGE, default="", named="VM_IMAGE"),
        ProjectKey(name=RANGE, kind=kinds.PORT_RANGE, shared=False),
        ProjectKey(name=ENABLED, kind=kinds.BOOLEAN, default=True),
        ProjectKey(name=VERSION, kind=kinds.DOCKER_VERSION, default="20.10", named="VM_DOCKER"),
    )
}
STRICT = ("project", "vm", DOCKER)
GROUPS = (*STRICT, "ports", "services")
TOP_LEVEL = ("provider", "project", "vm", "ports", "services")


def from_overrides(overrides: Mapping[str, str], *, base: Path) -> Layer:
    """Return the command line's layer; who names a Docker release there wants a Docker."""
    layer = layer_of(_overrides(overrides, base))
    if VERSION in layer.leaves and ENABLED not in layer.leaves:
        enabled = replace(layer.leaves[VERSION], key=KEYS[ENABLED], value=True)
        return replace(layer, leaves={**layer.leaves, ENABLED: enabled})
    return layer


def _overrides(overrides: Mapping[str, str], base: Path) -> Iterator[Leaf | Problem]:
    for path, text in overrides.items():
        if path in KEYS:
            yield from_text(KEYS[path], text, source=COMMAND_LINE, base=base)
        else:
            yield _unknown(path, text, COMMAND_LINE)


def from_environment(environment: Mapping[str, str], *, base: Path) -> Layer:
    """Return the variables' layer."""
    return layer_of(
        from_text(key, environment[key.variable], source=key.variable, base=base)
        for key in KEYS.values()
        if key.variable in environment
    )


def from_document(document: Document, *, project: bool) -> Layer:
    """Return a file's layer; what belongs to others, ``docker_registry`` too, is passed over.

    :param project: whether it is a ``vm.yaml``.
    """
    if document.problems:
        return Layer(problems=document.problems)
    return layer_of(_walk(document, (), document.root, project=project))


def _walk(
    document: Document, trail: tuple[str, ...], node: Mapping[Any, Any], *, project: bool
) -> Iterator[Leaf | Problem]:
    for part, value in node.items():
        path = printable(".".join(map(str, (*trail, part))))
        source = f"{document.path}:{line_of(document, (*trail, part))}"
        if path in KEYS:
            yield _leaf_or_fault(
                Leaf(key=KEYS[path], value=value, source=source, base=document.path.parent),
                project=project,
            )
        elif path == DOCKER and isinstance(value, bool):
            yield Leaf(key=KEYS[ENABLED], value=value, source=source, base=document.path.parent)
        elif path in GROUPS and isinstance(value, Mapping):
            yield from _walk(document, (*trail, part), value, project=project)
        elif path in GROUPS:
            yield from _no_mapping(path, value, source)
        elif ".".join(trail) in STRICT:
            yield _unknown(path, value, source)
        else:
            yield from _slips(document, trail, path, value, source)


def _leaf_or_fault(leaf: Leaf, *, project: bool) -> Leaf | Problem:
    if leaf.value is None:
        return replace(leaf, value="").problem("has no value", "write a value or remove the key")
    if not project and leaf.key.name in KEYS and not KEYS[leaf.key.name].shared:
        return leaf.problem("belongs to one project", f"move it to the project's {PROJECT_FILE}")
    return leaf


def _no_mapping(path: str, value: object, source: str) -> Iterator[Problem]:
    """Yield the fault of a group that holds a value; an empty one says nothing."""
    message, remedy = "is not a mapping", "write keys below it"
    if path == DOCKER:
        message = "is neither true, false nor a mapping"
        remedy = "write docker: true, or keys below it"
    if value is not None:
        yield _fault(path, value, source, message, remedy)


def _slips(
    document: Document, trail: tuple[str, ...], path: str, value: object, source: str
) -> Iterator[Problem]:
    """Yield the fault of a key that is close to one of ours where others may have theirs too."""
    if trail == ("ports",):
        # A port of others is one number, and never a list.
        if isinstance(value, list) and _alike(path, RANGE):
            yield _unknown(path, value, source)
    elif not trail:
        for name in TOP_LEVEL:
            if name not in document.root and _alike(path, name):
                yield replace(_unknown(path, "...", source), remedy=f"did you mean {name}?")


def _alike(path: str, known: str) -> bool:
    """Return whether a path's last part was probably meant to be that of a known one."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - start-up time

    word = path.rpartition(".")[2].lower().replace("-", "_")
    meant = known.rpartition(".")[2]
    return SequenceMatcher(None, word, meant).ratio() >= MISSPELT_LIKENESS


def _unknown(path: str, value: object, source: str) -> Problem:
    remedy = suggestion(path, (*KEYS, *GROUPS), otherwise="remove it")
    return _fault(path, value, source, "is not a key", remedy)


def _fault(path: str, value: object, source: str, message: str, remedy: str) -> Problem:
    return Problem(
        source=source, path=path, value=written("", value), message=message, remedy=remedy
    )
