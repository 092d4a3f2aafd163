"""What is rendered of typical configurations, compared with what was looked at and kept.

A difference is meant, or it is not: ``tests/golden/cases.py`` says how to renew the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.golden.cases import CASES, PASSWORD, RENEW, Case

if TYPE_CHECKING:
    from pathlib import Path

RENDERED = [
    pytest.param(path, content, id=f"{case.name}/{path.name}")
    for case in CASES
    for path, content in case.rendered().items()
]


def lines(content: bytes) -> list[str]:
    return content.decode().splitlines(keepends=True)


@pytest.mark.parametrize(("path", "content"), RENDERED)
def test_what_is_rendered_is_what_was_kept(path: Path, content: bytes) -> None:
    assert lines(content) == lines(path.read_bytes()), f"if that is meant: {RENEW}"


def test_the_typical_configurations_are_all_there() -> None:
    assert [case.name for case in CASES] == ["credentials", "docker-hub", "own-upstream"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_registrys_file_is_sound_yaml(case: Case) -> None:
    kept = yaml.safe_load((case.folder / "registry.yml").read_bytes())
    rendered = yaml.safe_load(case.rendered()[case.folder / "registry.yml"])
    expected = {"remoteurl": "http://egress:5001"}
    if case.name == "credentials":
        expected |= {"username": "me@example.com", "password": PASSWORD}
    assert kept["proxy"] == rendered["proxy"] == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nginx_sees_no_secret_and_nothing_unfilled(case: Case) -> None:
    text = (case.folder / "nginx.conf.txt").read_text()
    assert not any(sign in text for sign in ("{{", "}}", "{%", "None", "ünsafe"))
