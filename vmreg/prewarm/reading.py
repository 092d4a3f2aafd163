"""Files of a project, read with care: bounded, and with a list of all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vmreg.config.files import Document, line_of, parse, text_of
from vmreg.config.keys import printable
from vmreg.config.parsers import InvalidValueError
from vmreg.errors import Problem
from vmreg.manifests import Platform, parse_platform
from vmreg.prewarm import references
from vmreg.prewarm.references import Named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LARGEST_BYTES = 1_000_000
_LONGEST_SHOWN = 120


@dataclass(kw_only=True)
class Findings:
    """Images and faults, as they are found.

    :param root: paths below it are shown without it.
    """

    root: Path
    images: list[Named] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def shown(self, path: Path, line: int = 0) -> str:
        """Return a place as a person reads it, such as ``compose.yaml:12``."""
        name = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return printable(f"{name}:{line}" if line else str(name))

    def image(self, text: str, *, where: str, key: str = "", platform: str = "") -> None:
        """Take an image, or note that ``text`` names none."""
        try:
            reference = references.parse(text)
        except ValueError as error:
            self.fault(
                where, str(error), remedy="write a name such as node:20", key=key, value=text
            )
            return
        try:
            wanted: Platform | None = parse_platform(platform) if platform else None
        except ValueError as error:
            self.fault(where, str(error), remedy="write one", key=key, value=platform)
            return
        self.images.append(Named(reference=reference, where=where, platform=wanted))

    def fault(
        self, where: str, message: str, *, remedy: str, key: str = "", value: object = ""
    ) -> None:
        """Note something that is wrong."""
        told = printable(" ".join(str(value).split()))[:_LONGEST_SHOWN]
        self.problems.append(
            Problem(source=where, path=key, value=told or '""', message=message, remedy=remedy)
            if key
            else Problem(
                source=where,
                path="",
                value="",
                message=f"{told} {message}" if told else message,
                remedy=remedy,
            )
        )

    def text(self, path: Path) -> str:
        """Return what a file says, empty after a fault."""
        try:
            return text_of(path, largest_bytes=LARGEST_BYTES)
        except InvalidValueError as fault:
            self.fault(self.shown(path), fault.message, remedy=fault.remedy)
            return ""

    def document(self, path: Path) -> Document:
        """Return what a YAML file says, nothing after a fault."""
        content = self.text(path)
        document = parse(path, content)
        for problem in document.problems:
            source = problem.source.replace(str(path), self.shown(path), 1)
            remedy = problem.remedy.replace("docker_registry:", "services:")
            self.problems.append(replace(problem, source=source, remedy=remedy))
        return document

    def place(self, document: Document, trail: Sequence[str], *further: str) -> str:
        """Return file and line of the key at the end of ``trail`` and ``further``."""
        return self.shown(document.path, line_of(document, (*trail, *further)))

    def mapping(self, document: Document, trail: Sequence[str]) -> Mapping[str, Any]:
        """Return the keys and values at ``trail``; nothing when absent or after a fault."""
        node: Any = document.root
        for part in trail:
            node = node.get(part)
            if node is None:
                return {}
            if not isinstance(node, Mapping):
                self.fault(
                    self.place(document, trail),
                    "does not hold keys and values",
                    remedy="write NAME: and its keys below",
                    key=".".join(trail),
                    value=node,
                )
                return {}
        found: Mapping[str, Any] = node
        return found
