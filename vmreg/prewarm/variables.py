"""``${NAME:-default}`` as Compose files and Dockerfiles write it, and ``.env`` files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*=\s*(.*)", re.DOTALL)
_DEEPEST = 20


class VariableError(Exception):
    """A variable that cannot be filled in; the message completes "VALUE ..."."""


def expand(text: str, known: Mapping[str, str], *, escape: str, deep: int = 0) -> str:
    r"""Return ``text`` with its variables filled in.

    :param escape: what makes a dollar sign a mere dollar sign: ``$`` in Compose files, a backslash
        in Dockerfiles.
    :raises VariableError: one is not set and has no default, or is written in a way that is not
        understood here.

    >>> expand("node:${V:-20}-$OS", {"OS": "slim"}, escape="$")
    'node:20-slim'
    """
    done, at = [], 0
    while at < len(text):
        if text.startswith(f"{escape}$", at):
            done.append("$")
            at += 2
        elif text[at] != "$":
            done.append(text[at])
            at += 1
        elif text.startswith("${", at):
            end = _closing(text, at + 2)
            done.append(_braced(text[at + 2 : end], known, escape=escape, deep=deep))
            at = end + 1
        else:
            name = _NAME.match(text, at + 1)
            if name is None:
                raise VariableError("has a $ that begins no variable")
            done.append(_value(name[0], known))
            at = name.end()
    return "".join(done)


def parse_env(content: str) -> dict[str, str]:
    r"""Return what a ``.env`` file sets; lines that set nothing are passed over.

    >>> parse_env("# versions\nNODE=20 # LTS\nexport TAG='a # b'\n")
    {'NODE': '20', 'TAG': 'a # b'}
    """
    found: dict[str, str] = {}
    for line in content.splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is not None:
            found[match[1]] = _unquoted(match[2])
    return found


def _unquoted(value: str) -> str:
    for quote in "'\"":
        if value.startswith(quote) and quote in value[1:]:
            return value[1 : value.index(quote, 1)]
    return re.split(r"(?:^|\s+)#", value, maxsplit=1)[0].strip()


def _closing(text: str, start: int) -> int:
    """Return where the brace that was opened before ``start`` is closed."""
    depth = 1
    for at in range(start, len(text)):
        if text.startswith("${", at):
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
    raise VariableError("has a ${ without its }")


def _braced(inner: str, known: Mapping[str, str], *, escape: str, deep: int) -> str:
    if deep > _DEEPEST:
        raise VariableError(f"nests variables more than {_DEEPEST} deep")
    name = _NAME.match(inner)
    if name is None:
        raise VariableError(f"has ${{{inner}}}, which names no variable")
    rest = inner[name.end() :]
    if not rest:
        return _value(name[0], known)
    colon, operator, word = rest[:1] == ":", rest.lstrip(":")[:1], rest.lstrip(":")[1:]
    if operator not in {"-", "?", "+"} or rest.startswith("::"):
        raise VariableError(f"has ${{{inner}}}, a form that is not understood here")
    is_set = name[0] in known and bool(known[name[0]] or not colon)
    if operator == "+":
        return expand(word, known, escape=escape, deep=deep + 1) if is_set else ""
    if is_set:
        return known[name[0]]
    if operator == "-":
        return expand(word, known, escape=escape, deep=deep + 1)
    raise VariableError(f"needs {name[0]}: {word or 'it is not set'}")


def _value(name: str, known: Mapping[str, str]) -> str:
    if name not in known:
        raise VariableError(f"needs {name}, which is not set and has no default")
    return known[name]
