"""The layers: what each place says about each key, before anything is checked together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmreg.config.files import Document, line_of
from vmreg.config.keys import (
    ROOT,
    SECRETIVE,
    VARIABLE_PREFIX,
    Key,
    all_keys,
    groups,
    name_of,
    printable,
    suggestion,
    written,
)
from vmreg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND_LINE = "command line"
MISSPELT_LIKENESS = 0.8


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What one place says about one key.

    :param source: ``FILE:LINE``, a variable's name or ``command line``.
    :param base: the folder at which a relative path begins.
    """

    key: Key
    value: object
    source: str
    base: Path

    def problem(self, message: str, remedy: str) -> Problem:
        """Return a fault of this value."""
        return Problem(
            source=self.source,
            path=self.key.path,
            value=written(self.key.name, self.value),
            message=message,
            remedy=remedy,
        )


@dataclass(frozen=True, kw_only=True)
class Layer:
    """All that one place says.

    :param leaves: by the key's name.
    :param problems: what in it is no key, or may not stand there.
    """

    leaves: Mapping[str, Leaf] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def layer_of(found: Iterator[Leaf | Problem]) -> Layer:
    """Return a layer from its leaves and problems, in any order."""
    leaves: dict[str, Leaf] = {}
    problems: list[Problem] = []
    for one in found:
        if isinstance(one, Problem):
            problems.append(one)
        else:
            leaves[one.key.name] = one
    return Layer(leaves=leaves, problems=tuple(problems))


# text: the command line and the environment


def from_overrides(overrides: Mapping[str, str], *, base: Path) -> Layer:
    """Return the command line's layer; ``docker_registry.`` may be left out of a path."""
    return layer_of(_overrides(overrides, base))


def _overrides(overrides: Mapping[str, str], base: Path) -> Iterator[Leaf | Problem]:
    for path, text in overrides.items():
        name = name_of(path)
        if name in all_keys():
            yield from_text(all_keys()[name], text, source=COMMAND_LINE, base=base)
        else:
            yield unknown(name, text, source=COMMAND_LINE)


def from_environment(environment: Mapping[str, str], *, base: Path) -> Layer:
    """Return the layer of the ``VM_REGISTRY_*`` variables."""
    return layer_of(_environment(environment, base))


def _environment(environment: Mapping[str, str], base: Path) -> Iterator[Leaf | Problem]:
    known = {key.variable: key for key in all_keys().values()}
    for variable, text in sorted(environment.items()):
        if variable in known:
            yield from_text(known[variable], text, source=variable, base=base)
        elif variable.startswith(VARIABLE_PREFIX):
            yield Problem(
                source=variable,
                path=variable,
                value="*****" if SECRETIVE.upper() in variable else written("", text),
                message="is not a variable of this program",
                remedy=suggestion(variable, known, otherwise="unset it"),
            )


def from_text(key: Key, text: str, *, source: str, base: Path) -> Leaf | Problem:
    """Return what ``text`` says about a key, or why it cannot say it."""
    leaf = Leaf(key=key, value=key.kind.read(text), source=source, base=base)
    if key.kind.from_text:
        return leaf
    return leaf.problem("cannot be given as a text", "write it as a list into your config.yaml")


# files


def from_document(document: Document, *, project: bool) -> Layer:
    """Return a file's layer. All but ``docker_registry`` in it belongs to others.

    :param project: whether it is a ``vm.yaml``, which may come from anyone's repository.
    """
    if document.problems:
        return Layer(problems=document.problems)
    if ROOT not in document.root:
        return layer_of(_misspelt(document))
    return layer_of(_shorthand(document, project=project))


def _misspelt(document: Document) -> Iterator[Problem]:
    from difflib import SequenceMatcher  # noqa: PLC0415 - start-up time

    for word in document.root:
        name = str(word).lower().replace("-", "_")
        if SequenceMatcher(None, name, ROOT).ratio() >= MISSPELT_LIKENESS:
            yield Problem(
                source=f"{document.path}:{line_of(document, [word])}",
                path=printable(str(word)),
                value="...",
                message="is not a key",
                remedy=f"did you mean {ROOT}?",
            )


def _shorthand(document: Document, *, project: bool) -> Iterator[Leaf | Problem]:
    value = document.root[ROOT]
    if isinstance(value, bool):
        yield _leaf(document, (ROOT,), all_keys()["enabled"], value)
    elif isinstance(value, Mapping):
        yield from _walk(document, (ROOT,), value, project=project)
    elif value is not None:
        yield Problem(
            source=f"{document.path}:{line_of(document, (ROOT,))}",
            path=ROOT,
            value=written("", value),
            message="is neither true, false nor a mapping",
            remedy="write docker_registry: true, or keys below it",
        )


def _walk(
    document: Document, trail: tuple[str, ...], node: Mapping[object, object], *, project: bool
) -> Iterator[Leaf | Problem]:
    for part, value in node.items():
        below = (*trail, str(part))
        name = printable(".".join(below[1:]))
        source = f"{document.path}:{line_of(document, (*trail, part))}"  # type: ignore[arg-type]  # a key need not be a text
        if project and name.split(".")[0] == SECRETIVE:
            yield _not_in_a_project(name, value, source)
        elif name in groups() and isinstance(value, Mapping):
            yield from _walk(document, below, value, project=project)
        elif name in groups() and value is not None:
            yield _wrong(name, value, source, "is not a mapping", "write keys below it")
        elif name in groups():
            continue
        elif name not in all_keys():
            yield unknown(name, value, source=source)
        elif value is None:
            yield _wrong(name, "", source, "has no value", "write a value or remove the key")
        else:
            yield _leaf(document, below, all_keys()[name], value)


def _leaf(document: Document, trail: tuple[str, ...], key: Key, value: object) -> Leaf:
    source = f"{document.path}:{line_of(document, trail)}"
    return Leaf(key=key, value=value, source=source, base=document.path.parent)


def unknown(name: str, value: object, *, source: str) -> Problem:
    """Return the fault of a key that does not exist."""
    remedy = "remove it"
    if name.startswith(f"{SECRETIVE}.pass") or name.endswith((".token", ".secret")):
        remedy = f"name a file in {SECRETIVE}.password_file, or a {SECRETIVE}.password_command"
    elif not name.startswith(f"{SECRETIVE}."):
        remedy = suggestion(name, (*all_keys(), *groups()), otherwise=remedy)
    else:
        inside = [one for one in all_keys() if one.startswith(f"{SECRETIVE}.")]
        remedy = suggestion(name, inside, otherwise=remedy)
    return _wrong(name, value, source, "is not a key", remedy)


def _not_in_a_project(name: str, value: object, source: str) -> Problem:
    return Problem(
        source=source,
        path=f"{ROOT}.{name}",
        value="*****" if isinstance(value, Mapping) else written(f"{SECRETIVE}.password", value),
        message="credentials may not stand in a project's file, which others can read and write",
        remedy="move them to config.yaml in your own folder (vm registry config path shows where)",
    )


def _wrong(name: str, value: object, source: str, message: str, remedy: str) -> Problem:
    return Problem(
        source=source,
        path=f"{ROOT}.{name}",
        value=written(name, value),
        message=message,
        remedy=remedy,
    )
