"""Images that a Dockerfile builds on.

A parser of our own, since ``dockerfile-parse`` 2.0.1 takes the lines of here-documents for
instructions and ``${V:-20}`` for ``20:-20}``, and knows no ``COPY --from``.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmreg.prewarm.variables import VariableError, expand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCRATCH = "scratch"
_CHOSEN = ("$TARGETPLATFORM", "${TARGETPLATFORM}")  # the one that is built for, as without it
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)\s+(.*)", re.DOTALL)
_FLAG = re.compile(r"--([a-z-]+)=(\"[^\"]*\"|'[^']*'|\S+)\s*")
_HEREDOC = re.compile(r"(?<!\S)\d*<<(-?)([\"']?)([^\s<>\"']+)\2")
_TAKES_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, kw_only=True)
class Base:
    """An image that a Dockerfile names.

    :param line: where, from 1.
    :param written: as it stands there.
    :param text: with its variables filled in; empty with a ``fault``.
    :param platform: of ``FROM --platform``, filled in; empty without one.
    :param fault: why the variables cannot be filled in; completes "WRITTEN ...".
    """

    line: int
    written: str
    text: str = ""
    platform: str = ""
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction in upper case, its flags in order, and what follows, on one line."""

    line: int
    name: str
    flags: tuple[tuple[str, str], ...]
    rest: str


def bases(
    content: str,
    *,
    arguments: Mapping[str, str],
    target: Mapping[str, str],
    contexts: frozenset[str] = frozenset(),
) -> tuple[Base, ...]:
    """Return the images that a Dockerfile's text names, in its order.

    Stages, ``scratch`` and named contexts are no images and are left out.

    :param arguments: values of ``ARG`` that win over the defaults written there.
    :param target: the arguments that BuildKit sets by itself, such as ``TARGETARCH``.
    :param contexts: the names of additional contexts, in lower case.
    """
    reader = _Reader(arguments=arguments, scope=dict(target), stages=set(contexts))
    syntax, escape = _directives(content)
    reader.escape = escape
    if syntax is not None:
        reader.found.append(syntax)
    for instruction in instructions(content, escape=escape):
        reader.take(instruction)
    return tuple(reader.found)


def instructions(content: str, *, escape: str = "\\") -> Iterator[Instruction]:
    """Yield the instructions of a Dockerfile's text; the bodies of here-documents are left out.

    :param escape: what continues a line: a backslash, or a backtick.
    """
    lines = deque(enumerate(content.splitlines(), start=1))
    while lines:
        number, line = lines.popleft()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        whole = line
        while whole.rstrip().endswith(escape) and lines:
            _, following = lines.popleft()
            if not following.strip() or following.lstrip().startswith("#"):
                continue
            whole = whole.rstrip()[: -len(escape)] + " " + following
        match = _INSTRUCTION.fullmatch(whole)
        if match is None:
            continue
        name, flags, rest = match[1].upper(), [], match[2].strip()
        while flag := _FLAG.match(rest):
            flags.append((flag[1], flag[2].strip("\"'")))
            rest = rest[flag.end() :]
        if name in _TAKES_HEREDOCS:
            _skip_heredocs(lines, rest)
        yield Instruction(line=number, name=name, flags=tuple(flags), rest=rest)


def _skip_heredocs(lines: deque[tuple[int, str]], opened: str) -> None:
    """Drop the bodies of the here-documents that an instruction opens."""
    for dash, _, word in _HEREDOC.findall(opened):
        while lines:
            _, line = lines.popleft()
            if (line.lstrip("\t") if dash else line) == word:
                break


def _directives(content: str) -> tuple[Base | None, str]:
    """Return the image of ``# syntax=`` and the escape character; only the first lines tell."""
    syntax, escape = None, "\\"
    for number, line in enumerate(content.splitlines(), start=1):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        if match[1].lower() == "syntax":
            syntax = Base(line=number, written=match[2], text=match[2])
        if match[1].lower() == "escape":
            escape = match[2]
    return syntax, escape


@dataclass(kw_only=True)
class _Reader:
    """What is known at a point of the file.

    :param scope: arguments of ``FROM`` lines.
    :param stage: arguments of the present stage; ``None`` before the first.
    """

    arguments: Mapping[str, str]
    scope: dict[str, str]
    stages: set[str]
    stage: dict[str, str] | None = None
    count: int = 0
    escape: str = "\\"
    found: list[Base] = field(default_factory=list)

    def take(self, instruction: Instruction) -> None:
        """Follow one instruction."""
        if instruction.name == "ARG":
            self._arg(instruction.rest)
        elif instruction.name == "FROM":
            self._from(instruction)
        elif instruction.name == "COPY":
            for name, value in instruction.flags:
                if name == "from":
                    self._image(instruction.line, value, self.stage or {})
        elif instruction.name == "RUN":
            for name, value in instruction.flags:
                if name == "mount":
                    self._mount(instruction.line, value)

    def _arg(self, rest: str) -> None:
        scope = self.scope if self.stage is None else self.stage
        for word in _words(rest):
            name, equals, default = word.partition("=")
            if name in self.arguments:
                scope[name] = self.arguments[name]
            elif equals:
                try:
                    scope[name] = expand(default, scope, escape=self.escape)
                except VariableError:
                    scope.pop(name, None)  # whoever uses it is told
            elif self.stage is not None and name in self.scope:
                scope[name] = self.scope[name]

    def _from(self, instruction: Instruction) -> None:
        self.stage = {}
        words = instruction.rest.split()
        if words:
            platform = dict(instruction.flags).get("platform", "")
            if platform in _CHOSEN:
                platform = ""
            self._image(instruction.line, words[0].strip("\"'"), self.scope, platform)
        if len(words) == 3 and words[1].lower() == "as":  # noqa: PLR2004 - IMAGE AS NAME
            self.stages.add(words[2].lower())
        self.stages.add(str(self.count))
        self.count += 1

    def _mount(self, line: int, value: str) -> None:
        for part in value.split(","):
            key, _, image = part.partition("=")
            if key.strip() == "from":
                self._image(line, image, self.stage or {})

    def _image(self, line: int, written: str, scope: Mapping[str, str], platform: str = "") -> None:
        try:
            text = expand(written, scope, escape=self.escape)
            platform = expand(platform, scope, escape=self.escape)
        except VariableError as error:
            self.found.append(Base(line=line, written=written, fault=str(error)))
            return
        if text.lower() not in {SCRATCH, *self.stages}:
            self.found.append(Base(line=line, written=written, text=text, platform=platform))


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed: the build will say so
        return text.split()
