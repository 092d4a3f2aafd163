"""The two YAML files: where they are, what they say, and on which line."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmreg.config.parsers import InvalidValueError
from vmreg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

PROJECT_FILE = "vm.yaml"
USER_FILE = "config.yaml"
LARGEST_BYTES = 100_000
# What the parser trips over without a message of its own.
_ODD = {RecursionError: "it nests too deep", AttributeError: "an anchor is merged into itself"}


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file as it was parsed.

    :param root: its top level; empty when it could not be parsed.
    :param problems: why it could not.
    """

    path: Path
    root: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def home_of(environment: Mapping[str, str]) -> Path:
    """Return the user's folder: ``VM_HOME``, or ``.vm`` in the home folder."""
    named = environment.get("VM_HOME", "")
    home = Path(environment.get("HOME") or Path.home())
    if named == "~" or named.startswith("~/"):
        return home / named[2:]
    return Path(named) if named else home / ".vm"


def project_file(cwd: Path) -> Path | None:
    """Return the nearest ``vm.yaml`` in ``cwd`` or above it, or ``None``."""
    for folder in (cwd, *cwd.parents):
        # A link that leads nowhere is a fault of its own.
        if os.path.lexists(folder / PROJECT_FILE):
            return folder / PROJECT_FILE
    return None


def parser() -> YAML:
    """Return a YAML 1.2 parser that knows lines and refuses duplicate keys."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow, and not every command needs it

    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    return yaml


def read(path: Path, *, found: bool = False) -> Document:
    """Return what a file says; one that does not exist says nothing.

    Nothing is raised: a file that cannot be read or parsed becomes a problem.

    :param found: whether there is something of that name, which must then be a file.
    """
    if not found and not path.exists():
        return Document(path=path)
    try:
        content = text_of(path, largest_bytes=LARGEST_BYTES)
    except InvalidValueError as fault:
        return _unusable(path, fault.message, fault.remedy)
    return parse(path, content)


def text_of(path: Path, *, largest_bytes: int) -> str:
    """Return the text of a regular file; nothing else is opened, and no more than that is read.

    :raises InvalidValueError: it is something else, too large, unreadable or not UTF-8.
    """
    try:
        if not path.is_file():
            raise InvalidValueError(
                message="is not a file", remedy="correct its name, or make it one"
            )
        with path.open("rb") as source:
            content = source.read(largest_bytes + 1)
        if len(content) > largest_bytes:
            raise InvalidValueError(
                message=f"is larger than {largest_bytes} bytes", remedy="make it smaller"
            )
        return content.decode("utf-8-sig")
    except OSError as error:
        raise InvalidValueError(
            message=f"cannot be read ({error.strerror})", remedy="make it a readable file"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidValueError(
            message=f"is not UTF-8 ({error.reason})", remedy="save it as UTF-8"
        ) from error


def parse(path: Path, content: str) -> Document:
    """Return what ``content`` says, as the file ``path`` would with it."""
    from ruamel.yaml.constructor import DuplicateKeyError  # noqa: PLC0415 - as above
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 - as above

    try:
        root = parser().load(content)
    except DuplicateKeyError as error:
        # The parser's own message quotes both values, and one may be a secret.
        name = re.search(r'key "(.*?)"', str(error.problem))
        return _unusable(
            path, f"has {name[1] if name else 'a key'} twice", "keep one of them", error
        )
    except MarkedYAMLError as error:
        return _unusable(path, f"is not valid YAML: {_reason(error)}", "correct that line", error)
    except (YAMLError, ValueError, RecursionError, AttributeError) as error:
        reason = _ODD.get(type(error)) or str(error).splitlines()[0]
        return _unusable(path, f"is not valid YAML: {reason}", "correct the file")
    if root is None:
        return Document(path=path)
    if not isinstance(root, Mapping):
        return _unusable(path, "does not hold keys and values", "begin it with docker_registry:")
    return Document(path=path, root=root)


def line_of(document: Document, trail: Sequence[str]) -> int:
    """Return the line, from 1, of the key at the end of ``trail``.

    A key that is merged in from an anchor has the line of the mapping that merges it.
    """
    node: Any = document.root
    line = 0
    for part in trail:
        line = (node.lc.data or {}).get(part, (line,))[0]
        node = node[part]
    return int(line) + 1


def _reason(error: MarkedYAMLError) -> str:
    return " ".join(str(error.problem or error.context or "it ends too early").split())


def _unusable(
    path: Path, message: str, remedy: str, error: MarkedYAMLError | None = None
) -> Document:
    mark = error and (error.problem_mark or error.context_mark)
    source = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = Problem(source=source, path="", value="", message=message, remedy=remedy)
    return Document(path=path, problems=(problem,))
