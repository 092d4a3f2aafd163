"""A real nginx reads every golden configuration, on a network that holds nothing.

It must start without one: a name that nginx would look up at its start is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.golden.cases import CASES, Case
from tests.integration import alone
from vmreg import images, plan
from vmreg.stack import owner

if TYPE_CHECKING:
    from pathlib import Path

    from vmreg.engine import Engine

CHECK = ("nginx", "-e", "stderr", "-t", "-c", "/etc/vmreg/nginx.conf")


@dataclass(frozen=True, kw_only=True)
class Checked:
    exit_code: int
    output: str


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return images.ensure(engine, recipe=images.COMPONENTS, pinned=images.NGINX_PIN)


def check(engine: Engine, image: str, home: Path, case: Case, *, text: str = "") -> Checked:
    """Run ``nginx -t`` as the stack does, on the kept file or on ``text``."""
    settings = replace(case.settings(), home=home)
    part = plan.proxy(settings, case.facts(owner=owner()), image)
    kept = text.encode() or (case.folder / "nginx.conf.txt").read_bytes()
    spec = alone.prepare(replace(part, files={**part.files, "nginx.conf": kept}))
    with alone.running(engine, replace(spec, command=CHECK, init=False)) as made:
        done = alone.ended(engine, made.id)
        return Checked(exit_code=done.exit_code, output=engine.logs(made.id, tail=50))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nginx_reads_it_without_a_word(
    case: Case, engine: Engine, image: str, tmp_path: Path
) -> None:
    done = check(engine, image, tmp_path, case)
    assert done.exit_code == 0, done.output
    assert "test is successful" in done.output
    assert not any(f"[{level}]" in done.output for level in ("warn", "error", "emerg", "alert"))


@pytest.mark.parametrize(
    "fault",
    [
        ("client_max_body_size 1k;", "client_max_body_size 1k x;", "invalid number of arguments"),
        ("upstream-ca.pem;", "absent.pem;", "absent.pem.*No such file"),
        ("server unix:/tmp/egress.sock;", "server hub.example.com;", "host not found in upstream"),
        ('"~^library/[^/]+$" 1;', '"~^library/[^/+$" 1;', "compile.* failed: missing"),
    ],
    ids=["number", "certificates", "name", "pattern"],
)
def test_nginx_would_have_refused_it(
    fault: tuple[str, str, str], engine: Engine, image: str, tmp_path: Path
) -> None:
    right, wrong, complaint = fault
    case = next(one for one in CASES if one.name == "own-upstream")
    text = (case.folder / "nginx.conf.txt").read_text()
    assert right in text
    done = check(engine, image, tmp_path, case, text=text.replace(right, wrong))
    assert done.exit_code == 1
    assert re.search(rf"\[emerg\].*{complaint}", done.output), done.output
