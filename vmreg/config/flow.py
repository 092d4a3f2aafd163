"""Values as YAML text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/@-]*(?:://[A-Za-z0-9._/@:-]*[A-Za-z0-9._/@-])?")
# Plain texts that a parser of YAML 1.1 or 1.2 takes for something else.
_OTHERWISE = re.compile(
    r"true|false|null|y|n|yes|no|on|off|[0-9._e+-]+|0[xob][0-9a-f_]+|[.]inf|[.]nan", re.IGNORECASE
)


def block(trail: Sequence[str], value: object, *, column: int, step: int, newline: str) -> str:
    r"""Return lines that set the key at the end of ``trail``, each deeper by ``step`` columns.

    >>> block(["upstream", "timeout"], "5s", column=2, step=2, newline="\n")
    '  upstream:\n    timeout: 5s\n'
    """
    lines = [" " * (column + depth * step) + f"{part}:" for depth, part in enumerate(trail)]
    return newline.join(lines) + f" {flow(value)}{newline}"


def flow_pair(trail: Sequence[str], value: object) -> str:
    """Return a key and its value for the inside of braces.

    >>> flow_pair(["upstream", "timeout"], "5s")
    'upstream: {timeout: 5s}'
    """
    head, *rest = trail
    return f"{head}: {{{flow_pair(rest, value)}}}" if rest else f"{head}: {flow(value)}"


def flow(value: object) -> str:
    """Return a boolean, a number, a text or a list of them on one line.

    >>> flow(["library/*", "no", "50GB"])
    '["library/*", "no", 50GB]'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(flow(one) for one in value)}]"
    return _scalar(value) if isinstance(value, str) else str(value)


def _scalar(text: str) -> str:
    """Return a text plain where it is read back as that text, and else in double quotes."""
    if _PLAIN.fullmatch(text) and not _OTHERWISE.fullmatch(text):
        return text
    return f'"{"".join(_quoted(one) for one in text)}"'


def _quoted(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
