"""Every key that there is, derived from the model: its path, its variable, its kind."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from vmreg.config.kinds import MASK, Kind
from vmreg.config.model import RegistrySettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vmreg.config.model import Settings

ROOT = "docker_registry"
VARIABLE_PREFIX = "VM_REGISTRY_"
SECRETIVE = "credentials"
_OPEN_CREDENTIALS = (f"{SECRETIVE}.username", f"{SECRETIVE}.password_file")


@dataclass(frozen=True, kw_only=True)
class Key:
    """One setting.

    :param name: dotted path below ``docker_registry``.
    """

    name: str
    kind: Kind

    @property
    def path(self) -> str:
        """The dotted path as a person writes it."""
        return f"{ROOT}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it: the path, dots as underscores."""
        return VARIABLE_PREFIX + self.name.replace(".", "_").upper()


@cache
def all_keys() -> Mapping[str, Key]:
    """Return every key by its name, in the model's order."""
    return {key.name: key for key in _keys_of(RegistrySettings, prefix="")}


@cache
def groups() -> frozenset[str]:
    """Return the names that hold further keys, such as ``upstream``."""
    return frozenset(name.rpartition(".")[0] for name in all_keys() if "." in name)


def _keys_of(model: type, *, prefix: str) -> Iterator[Key]:
    hints = get_type_hints(model, include_extras=True)
    for field in dataclasses.fields(model):
        name, hint = prefix + field.name, hints[field.name]
        kind = next((one for one in get_args(hint) if isinstance(one, Kind)), None)
        if kind is not None:
            yield Key(name=name, kind=kind)
            continue
        nested = next(one for one in (hint, *get_args(hint)) if dataclasses.is_dataclass(one))
        assert isinstance(nested, type)  # noqa: S101 - for the type checker; a field is a type
        yield from _keys_of(nested, prefix=f"{name}.")


def name_of(path: str) -> str:
    """Return a dotted path without its leading ``docker_registry.``, which may be left out."""
    return path.removeprefix(f"{ROOT}.")


def value_of(settings: Settings, key: Key) -> Any:  # noqa: ANN401 - as varied as the kinds
    """Return the value of a key; ``None`` when its group is absent."""
    value: Any = settings.registry
    for part in key.name.split("."):
        value = getattr(value, part) if value is not None else None
    return value


def shown(settings: Settings, key: Key) -> str:
    """Return the value of a key as a person writes it, secrets masked; empty when not set."""
    value = value_of(settings, key)
    return "" if value is None else key.kind.show(value)


def plain(settings: Settings, key: Key) -> object:
    """Return the value of a key for JSON, secrets masked; ``None`` when not set."""
    value = value_of(settings, key)
    return None if value is None else key.kind.plain(value)


def written(name: str, value: object) -> str:
    """Return what was written for a key, fit to be printed: secrets masked, one line."""
    if name.startswith(SECRETIVE) and name not in _OPEN_CREDENTIALS:
        return MASK
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, list | tuple):
        text = f"[{', '.join(str(one) for one in value)}]"
    if "://" in text and "@" in text:
        scheme, _, rest = text.partition("://")
        text = f"{scheme}://{MASK}@{rest.rpartition('@')[2]}"
    return printable(" ".join(text.split())) or '""'


def printable(text: str) -> str:
    """Return ``text`` with control characters escaped: a file must not steer a terminal."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def suggestion(word: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return a remedy that names the known word most like ``word``.

    :param otherwise: the remedy when none is like it.
    """
    names = sorted(known)
    last = word.rpartition(".")[2]
    close = [name for name in names if name.rpartition(".")[2] == last] or get_close_matches(
        word, names, n=1, cutoff=0.7
    )
    return f"did you mean {close[0]}?" if close else otherwise
