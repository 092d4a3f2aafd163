"""The guide's commands and what they print: run in order, at a terminal, for one person.

``python -m tests.e2e.guide`` in the checkout writes what they print now into the guide.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.people import Person

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide.md"
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
NAMES = ("frontend", "backend", "modern")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BUILDING = re.compile(r"^(pulling|not pulled|building|built) .*\n", re.MULTILINE)


def told(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of the guide and what it is said to print."""
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output


def run(person: Person, command: str) -> str:
    """Return what a command prints at a terminal, as it would be for the guide's reader.

    :raises AssertionError: it fails.
    """
    program, *words = shlex.split(command)
    assert program == "vm", command
    mine = [person.name(word) if word in NAMES else word for word in words]
    code, screen = person.at_a_terminal(*mine, answer="y")
    assert code == 0, (command, screen)
    return for_reader(person, screen)


def for_reader(person: Person, screen: str) -> str:
    """Return a screen without what is this person's own."""
    # What is drawn over what was there before is all that is seen in the end.
    seen = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in screen.split("\n"))
    text = _BUILDING.sub("", _CONTROL.sub("", seen))
    # In tables a shorter name leaves its column as wide as it was.
    longer = len(person.prefix) + 1
    text = re.sub(rf"{person.prefix}-(\w+)(?=  )", rf"\1{' ' * longer}", text)
    for own, theirs in (
        (f"{person.prefix}-proxy", "vm-registry-proxy"),
        (f"{person.prefix}-storage", "vm-registry-storage"),
        (f"{person.prefix}-", ""),
        (str(person.folder), "/home/ann/shop"),
        (person.environment["VM_HOME"], "/home/ann/.vm"),
        (str(person.port), "5000"),
    ):
        text = text.replace(own, theirs)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines() if line.strip())


def gist(text: str) -> str:
    """Return what two runs have in common: no digits, no units, no widths, no drawn lines."""
    counted = re.sub(r"[0-9a-f]{12,}|[0-9]+([.,][0-9]+)*( [KMGT]?B\b)?", "N", text)
    return re.sub(r"[\s─━╸╺]+", " ", counted).strip()


def renew(person: Person) -> None:
    """Write what the commands print now into the guide."""
    text = GUIDE.read_text(encoding="utf-8")

    def rewritten(match: re.Match[str]) -> str:
        commands = [command for command, _ in told(f"```console\n{match[0]}```\n")]
        return "".join(f"$ {command}\n{run(person, command)}" for command in commands)

    GUIDE.write_text(BLOCK.sub(rewritten, text), encoding="utf-8")


if __name__ == "__main__":
    import os
    import sys

    import pytest

    os.environ["RENEW_GUIDE"] = "1"
    sys.exit(pytest.main(["-q", str(Path(__file__).with_name("test_guide.py"))]))
