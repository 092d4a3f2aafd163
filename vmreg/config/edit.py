"""Change one value in a YAML file's text and leave every other character as it is.

A YAML library that writes the file anew moves comments when a key is added and changes indentation
and quotes. So the parser only says where things are, and the text is spliced. The result is parsed
again and compared with what was wanted: what this module does not understand it refuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vmreg.config.flow import block, flow, flow_pair
from vmreg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

# The parser's nodes: their classes ship no attribute types.
Node: TypeAlias = Any
DEFAULT_STEP = 2
# What `true` or `false` in the place of a mapping stands for.
SHORTHAND = ("enabled",)


class _Refused(Exception):  # noqa: N818 - control flow inside this module
    """The text has a form that cannot be spliced safely."""


@dataclass(frozen=True, kw_only=True)
class _Splice:
    """A piece of text and where it goes: ``start`` to ``end`` is replaced."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class _Page:
    """The text that is edited, and its habits.

    :param newline: how its lines end.
    :param step: the columns by which it indents.
    """

    text: str
    newline: str
    step: int

    def colon(self, key: Node) -> int:
        """Return the index behind the colon of a key."""
        match = re.compile(r"[ \t]*:").match(self.text, key.end_mark.index)
        if match is None:
            raise _Refused
        return match.end()

    def end(self, node: Node) -> int:
        """Return the index behind a node's last character, trailing comments left out."""
        if node.id == "scalar" and node.style in {"|", ">"}:
            span = self.text[node.start_mark.index : node.end_mark.index]
            return int(node.start_mark.index) + len(span.rstrip())
        if node.id == "scalar" or node.flow_style:
            return int(node.end_mark.index)
        last = node.value[-1]
        newest = last[1] if node.id == "mapping" else last
        if newest.start_mark.index < node.start_mark.index:
            raise _Refused
        return self.pair_end(last) if node.id == "mapping" else self.end(newest)

    def pair_end(self, pair: tuple[Node, Node]) -> int:
        """Return the index behind a key and its value.

        An empty value's mark stands at the next token, behind comments that are not its own.
        """
        colon = self.colon(pair[0])
        return colon if _is_empty(pair[1]) else max(colon, self.end(pair[1]))

    def line_end(self, index: int) -> int:
        """Return the index of the line break at or after ``index``, or of the end."""
        match = re.compile(r"\r?\n|\Z").search(self.text, index)
        return match.start() if match else len(self.text)

    def block(self, trail: Sequence[str], value: object, *, column: int) -> str:
        """Return the lines that set a key below ``column``."""
        return block(trail, value, column=column, step=self.step, newline=self.newline)


def set_value(text: str, trail: Sequence[str], value: object) -> str:
    """Return ``text`` with the key at the end of ``trail`` set to ``value``.

    A shorthand ``key: true`` on the way becomes a mapping with ``enabled: true``. Comments inside
    a list that is replaced move above it. A second call with the same value changes nothing.

    :param text: a YAML document, possibly empty.
    :param value: a boolean, a number, a text or a list of texts.
    :raises UsageError: the text has a form that cannot be changed safely, such as an alias.
    """
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - slow, and few need it

    from vmreg.config.files import parser  # noqa: PLC0415 - as above

    before = _plain(parser().load(text))
    if _get(before, trail) == (value,):
        return text
    try:
        changed = _spliced(text, tuple(trail), value)
        after = _plain(parser().load(changed))
    except (_Refused, YAMLError) as error:
        raise _unsafe(trail) from error
    if after != _wanted(before, trail, value) or _remarks(text) - _remarks(changed):
        raise _unsafe(trail)
    return changed


def _unsafe(trail: Sequence[str]) -> UsageError:
    return UsageError(
        brief=f"{'.'.join(trail)} cannot be changed in this file without disturbing it",
        details="the file uses anchors, merges or a layout that would not survive the edit",
        resolution="Change the value with an editor, then check it: vm registry config validate",
    )


def _remarks(text: str) -> Counter[str]:
    """Return all that looks like a comment, and how often; a ``#`` within quotes does no harm."""
    return Counter(re.findall(r"(?m)(?:^|(?<=\s))#.*?(?=\s*$)", text))


# what the change means, on data


def _plain(node: Any) -> Any:  # noqa: ANN401 - any YAML value
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(one) for one in node] if isinstance(node, list) else node


def _get(data: Any, trail: Sequence[str]) -> tuple[object, ...]:  # noqa: ANN401 - any YAML value
    for part in trail:
        if not isinstance(data, Mapping) or part not in data:
            return ()
        data = data[part]
    return (data,)


def _wanted(data: Any, trail: Sequence[str], value: object) -> Any:  # noqa: ANN401 - as above
    if not trail:
        return value
    if isinstance(data, bool):
        if tuple(trail) == SHORTHAND:
            return value
        data = {"enabled": data}
    known = data if isinstance(data, Mapping) else {}
    return {**known, trail[0]: _wanted(known.get(trail[0]), trail[1:], value)}


# where it goes, on text


def _is_empty(node: Node) -> bool:
    return bool(node.start_mark.index == node.end_mark.index)


def _spliced(text: str, trail: tuple[str, ...], value: object) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow, and few need it

    marked = text.removeprefix("\ufeff")
    root: Node = YAML(typ="rt").compose(marked)
    page = _Page(text=marked, newline="\r\n" if "\r\n" in text else "\n", step=_step(root))
    splice = _splice(page, root, trail, value)
    changed = marked[: splice.start] + splice.text + marked[splice.end :]
    return text[: len(text) - len(marked)] + changed


def _step(root: Node) -> int:
    """Return the columns by which the file indents, as far as it shows."""
    for _, value in root.value if root is not None and root.id == "mapping" else ():
        if value.id == "mapping" and not value.flow_style and value.start_mark.column:
            return int(value.start_mark.column)
    return DEFAULT_STEP


def _splice(page: _Page, root: Node, trail: tuple[str, ...], value: object) -> _Splice:
    if root is None or root.id == "scalar":
        return _append(page, page.block(trail, value, column=0))
    node = root
    for depth, part in enumerate(trail):
        if node.id != "mapping":
            raise _Refused
        pair = next((one for one in node.value if one[0].value == part), None)
        rest = trail[depth + 1 :]
        if pair is None:
            return _insert(page, node, trail[depth:], value)
        if pair[1].start_mark.index < pair[0].end_mark.index:
            raise _Refused  # an alias: the node belongs to another place
        is_word = pair[1].tag == "tag:yaml.org,2002:bool"
        if not rest or (is_word and rest == SHORTHAND):
            return _replace(page, node, pair, value)
        if pair[1].id == "scalar":
            return _open(page, node, pair, rest, value)
        node = pair[1]
    raise _Refused


def _replace(page: _Page, parent: Node, pair: tuple[Node, Node], value: object) -> _Splice:
    """Put a value in the place of another."""
    key, old = pair
    colon, end = page.colon(key), page.pair_end(pair)
    comments = [] if _is_empty(old) else _comments(page, colon, old)
    if not comments:
        return _Splice(start=colon, end=end, text=f" {flow(value)}")
    if parent.flow_style:
        raise _Refused
    indent = " " * key.start_mark.column
    above = "".join(f"{comment}{page.newline}{indent}" for comment in comments)
    start = key.start_mark.index
    return _Splice(start=start, end=end, text=f"{above}{page.text[start:colon]} {flow(value)}")


def _comments(page: _Page, start: int, node: Node) -> list[str]:
    """Return the comments between ``start`` and the end of a scalar or of a list of scalars."""
    items = node.value if node.id == "sequence" else [node]
    if any(item.id != "scalar" for item in items):
        raise _Refused
    gaps = []
    for item in items:
        gaps.append(page.text[start : item.start_mark.index])
        start = item.end_mark.index
    if node.id == "sequence" and node.flow_style:
        gaps.append(page.text[start : node.end_mark.index])
    return [comment for gap in gaps for comment in re.findall(r"#[^\r\n]*", gap)]


def _open(
    page: _Page, parent: Node, pair: tuple[Node, Node], rest: tuple[str, ...], value: object
) -> _Splice:
    """Turn a scalar, ``true``, ``false`` or nothing, into a mapping."""
    key, scalar = pair
    colon, end = page.colon(key), page.pair_end(pair)
    word = page.text[colon:end].strip()
    if scalar.tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"}:
        raise _Refused
    shorthand = [f"enabled: {word}"] if scalar.tag.endswith("bool") else []
    if parent.flow_style:
        inside = ", ".join([*shorthand, flow_pair(rest, value)])
        return _Splice(start=colon, end=end, text=f" {{{inside}}}")
    column = key.start_mark.column + page.step
    lines = "".join(f"{' ' * column}{line}{page.newline}" for line in shorthand)
    lines += page.block(rest, value, column=column)
    line_end = page.line_end(end)
    comment = page.text[end:line_end].rstrip()
    after = line_end + len(page.newline)
    return _Splice(start=colon, end=after, text=f"{comment}{page.newline}{lines}")


def _insert(page: _Page, node: Node, trail: tuple[str, ...], value: object) -> _Splice:
    """Add a key below the last one of its mapping, above the comments that follow it."""
    if node.flow_style:
        if not node.value:
            after = node.start_mark.index + 1
            return _Splice(start=after, end=after, text=flow_pair(trail, value))
        after = page.pair_end(node.value[-1])
        return _Splice(start=after, end=after, text=f", {flow_pair(trail, value)}")
    lines = page.block(trail, value, column=node.value[0][0].start_mark.column)
    line_end = page.line_end(page.pair_end(node.value[-1]))
    if line_end >= len(page.text):
        return _append(page, lines)
    after = line_end + len(page.newline)
    return _Splice(start=after, end=after, text=lines)


def _append(page: _Page, lines: str) -> _Splice:
    end = len(page.text)
    gap = page.newline if page.text and not page.text.endswith("\n") else ""
    return _Splice(start=end, end=end, text=gap + lines)
