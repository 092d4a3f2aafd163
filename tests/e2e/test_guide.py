"""A newcomer follows the guide from top to bottom and sees what it says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.e2e import guide

if TYPE_CHECKING:
    from tests.e2e.people import Person


def test_the_guide_shows_what_its_commands_print(person: Person) -> None:
    (person.folder / "vm.yaml").unlink()
    if os.environ.get("RENEW_GUIDE"):
        guide.renew(person)
    steps = list(guide.told(guide.GUIDE.read_text(encoding="utf-8")))
    assert len(steps) > 10
    if os.environ.get("RENEW_GUIDE"):
        return
    for command, output in steps:
        assert guide.gist(guide.run(person, command)) == guide.gist(output), command
