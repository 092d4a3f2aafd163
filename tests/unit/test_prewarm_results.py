"""What a prewarming did as data, its schema, and what a person sees of it."""

from __future__ import annotations

import copy
import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import vmreg
from vmreg.cli.common import SCHEMA_VERSION
from vmreg.errors import VmregError
from vmreg.prewarm.progress import Bars, Lines, choose
from vmreg.prewarm.results import Image, Prewarmed, Quota, Skipped
from vmreg.status import RateLimit

SCHEMA = json.loads((Path(vmreg.__file__).parent / "schema/pull.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
COUNTS = st.integers(0, 2**60)
TEXTS = st.text(min_size=1, max_size=9)
PLACES = st.lists(TEXTS, min_size=1, max_size=3, unique=True).map(tuple)
SECONDS = st.floats(0, 1e6)
LIMITS = st.none() | st.builds(
    RateLimit,
    limit=st.integers(1, 2**40),
    remaining=st.none() | COUNTS,
    window_s=st.none() | COUNTS,
    seen_at=SECONDS,
)
DIGEST = "sha256:" + "0" * 64
GOOD = st.builds(
    Image,
    reference=TEXTS,
    platforms=st.just(("linux/amd64", "linux/arm/v7")),
    digest=st.just(DIGEST),
    total_bytes=st.integers(1, 2**60),
    fetched_bytes=COUNTS,
    seconds=SECONDS,
    named_in=PLACES,
    error=st.just(""),
)
BAD = st.builds(
    Image,
    reference=TEXTS,
    platforms=st.just(()),
    digest=st.sampled_from(["", DIGEST]),
    total_bytes=COUNTS,
    fetched_bytes=COUNTS,
    seconds=SECONDS,
    named_in=PLACES,
    error=TEXTS,
)
RUNS = st.builds(
    Prewarmed,
    images=st.lists(GOOD | BAD, max_size=3).map(tuple),
    skipped=st.lists(
        st.builds(Skipped, reference=TEXTS, reason=TEXTS, named_in=PLACES), max_size=2
    ).map(tuple),
    quota=st.builds(Quota, before=LIMITS, after=LIMITS),
    fetched_bytes=COUNTS,
    seconds=SECONDS,
)


def image(reference: str, error: str = "") -> Image:
    return Image(
        reference=reference,
        platforms=("linux/amd64",),
        digest=DIGEST,
        total_bytes=7,
        fetched_bytes=7,
        seconds=0.5,
        named_in=("command line",),
        error=error,
    )


def run(*images: Image) -> Prewarmed:
    return Prewarmed(
        images=images,
        skipped=(Skipped(reference="ghcr.io/a/b", reason="elsewhere", named_in=("x:1",)),),
        quota=Quota(
            before=RateLimit(limit=100, remaining=9, window_s=21_600, seen_at=1.5), after=None
        ),
        fetched_bytes=7,
        seconds=1,
    )


def document(done: Prewarmed) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        json.dumps({"schema_version": SCHEMA_VERSION, **done.to_json()})
    )
    return told


@given(RUNS)
def test_every_run_is_valid(done: Prewarmed) -> None:
    VALIDATOR.validate(document(done))


def test_the_schema_itself_is_valid() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (Prewarmed, SCHEMA),
        (Image, SCHEMA["$defs"]["image"]),
        (Skipped, SCHEMA["$defs"]["skipped"]),
        (Quota, SCHEMA["properties"]["quota"]),
        (RateLimit, SCHEMA["$defs"]["rate_limit"]),
    ],
)
def test_the_schema_knows_each_field_and_no_other(kind: type, part: dict[str, Any]) -> None:
    names = {field.name for field in fields(kind)}
    assert set(part["properties"]) - {"schema_version"} == names
    assert set(part["required"]) - {"schema_version"} == names
    assert part["additionalProperties"] is False


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (("images", 0, "digest"), "md5:1"),
        (("images", 0, "digest"), ""),
        (("images", 0, "platforms"), []),
        (("images", 0, "platforms"), ["amd64"]),
        (("images", 0, "total_bytes"), 0),
        (("images", 0, "total_bytes"), 1.5),
        (("images", 0, "named_in"), []),
        (("images", 0, "error"), None),
        (("skipped", 0, "reason"), ""),
        (("quota", "before", "limit"), 0),
        (("fetched_bytes",), -1),
        (("schema_version",), 2),
    ],
)
def test_the_schema_refuses_what_cannot_be(keys: tuple[Any, ...], wrong: object) -> None:
    told = copy.deepcopy(document(run(image("node:20"))))
    VALIDATOR.validate(told)
    place: Any = told
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = wrong
    assert not VALIDATOR.is_valid(told)


def test_failures_are_named_with_their_causes() -> None:
    run(image("node:20")).raise_failures()

    with pytest.raises(VmregError) as caught:
        run(image("a:1", "404: no"), image("node:20"), image("b:2", "504: no")).raise_failures()

    assert caught.value.exit_code == 1
    assert caught.value.brief == "2 of 3 images could not be fetched"
    assert caught.value.details == "  a:1: 404: no\n  b:2: 504: no"


def test_lines_tell_size_quarters_and_end() -> None:
    told = io.StringIO()
    with choose(told) as events:
        assert isinstance(events, Lines)
        events.begin("node:20", total_bytes=8_000_000)
        for done in (1_000_000, 2_500_000, 3_000_000, 7_000_000, 8_000_000):
            events.advance("node:20", done_bytes=done)
        events.finish("node:20", fetched_bytes=8_000_000, seconds=2, error="")
        events.finish("x:1", fetched_bytes=0, seconds=0, error="404: no")
        events.begin("empty", total_bytes=0)
        events.advance("empty", done_bytes=0)

    assert told.getvalue().splitlines() == [
        "node:20: 8.0 MB",
        "node:20: 25 %",
        "node:20: 75 %",
        "node:20: fetched 8.0 MB in 2.0 s",
        "x:1: failed: 404: no",
        "empty: 0.0 MB",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_bars() -> None:
    drawn = Terminal()
    with choose(drawn) as events:
        assert isinstance(events, Bars)
        events.begin("node:20", total_bytes=8_000_000)
        events.advance("node:20", done_bytes=4_000_000)
        events.finish("node:20", fetched_bytes=8_000_000, seconds=2, error="")
        events.finish("[x]", fetched_bytes=0, seconds=0, error="404: [no]")

    assert "node:20" in drawn.getvalue()
    assert "404: [no]" in " ".join(drawn.getvalue().split())
