"""What a Dockerfile builds on."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.prewarm.dockerfile import Base, bases

TARGET = {
    "TARGETPLATFORM": "linux/amd64",
    "TARGETARCH": "amd64",
    "BUILDPLATFORM": "linux/arm64",
}


def read(content: str, **arguments: str) -> tuple[Base, ...]:
    return bases(textwrap.dedent(content), arguments=arguments, target=TARGET)


def texts(content: str, **arguments: str) -> list[str]:
    return [one.text for one in read(content, **arguments)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("FROM node:20", ["node:20"]),
        ("from node:20 as build\nFROM build", ["node:20"]),
        ("FROM node AS Build\nFROM bUILD", ["node"]),
        ("FROM scratch", []),
        ("FROM a\nFROM a", ["a", "a"]),
        ("ARG V=20\nFROM node:$V", ["node:20"]),
        ("ARG V=20 W=1\nFROM node:${V}-${W}", ["node:20-1"]),
        ("ARG V\nFROM node:${V:-18}", ["node:18"]),
        ('ARG V="20"\nARG I=node:$V\nFROM $I', ["node:20"]),
        ("FROM node-$TARGETARCH", ["node-amd64"]),
        ("FROM node-amd64 AS node-amd64\nFROM node-$TARGETARCH", ["node-amd64"]),
        ("FROM a AS x\nCOPY --from=x / /\nCOPY --from=0 / /", ["a"]),
        ("FROM a\nCOPY --chown=1 --from=nginx:1 / /", ["a", "nginx:1"]),
        ("FROM a\nCOPY --from=scratch / /", ["a"]),
        ("FROM a\nRUN --mount=type=bind,from=b:1,target=/x make", ["a", "b:1"]),
        ("FROM a\nRUN --mount=type=cache,target=/x make", ["a"]),
        ("FROM \\\n# comment\n\n  node:20 \\\n  AS x\nFROM x", ["node:20"]),
        ("# escape=`\nFROM `\n  node:20", ["node:20"]),
        ("# syntax=docker/dockerfile:1\nFROM a", ["docker/dockerfile:1", "a"]),
        ("# a comment\n# syntax=docker/dockerfile:1\nFROM a", ["a"]),
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\nFROM c", ["a", "c"]),
        ("FROM a\nRUN <<-'E' <<X cat\nFROM b\n\tE\nFROM c\nX\nFROM d", ["a", "d"]),
        ("FROM a\nRUN echo $((1<<EOF))\nFROM b", ["a", "b"]),
        ("FROM a\r\nRUN <<EOF\r\nFROM b\r\nEOF\r\nFROM c\r\n", ["a", "c"]),
        ("FROM a\nRUN echo \\\nFROM b", ["a"]),
        ("FROM a\nCMD x", ["a"]),
        ("FROM", []),
        ("", []),
    ],
)
def test_images_are_found(content: str, expected: list[str]) -> None:
    assert texts(content) == expected


def test_an_argument_from_outside_wins_over_the_default() -> None:
    content = "ARG V=20\nARG W\nFROM node:$V-$W"
    assert texts(content, V="22", W="slim") == ["node:22-slim"]


def test_a_stage_knows_only_the_arguments_that_it_asks_for() -> None:
    (first, second, third) = read(
        """\
        ARG V=1
        FROM a
        COPY --from=b:$V / /
        ARG V
        COPY --from=c:$V / /
        """
    )

    assert first.text == "a"
    assert (second.line, second.text) == (3, "")
    assert "needs V" in second.fault
    assert third.text == "c:1"


def test_lines_and_platforms_are_told() -> None:
    found = read(
        """\
        # syntax=docker/dockerfile:1

        FROM --platform=$BUILDPLATFORM a
        FROM --platform=linux/s390x b
        FROM --platform=$TARGETPLATFORM c
        FROM $NOPE
        """
    )

    assert [(one.line, one.text, one.platform) for one in found] == [
        (1, "docker/dockerfile:1", ""),
        (3, "a", "linux/arm64"),
        (4, "b", "linux/s390x"),
        (5, "c", ""),
        (6, "", ""),
    ]
    assert found[-1].written == "$NOPE"


def test_named_contexts_are_no_images() -> None:
    found = bases(
        "FROM Base\nCOPY --from=files / /",
        arguments={},
        target={},
        contexts=frozenset({"base", "files"}),
    )
    assert found == ()


@given(st.text(alphabet="FROM \n#<=\\$-EARGcopy:", max_size=200))
def test_any_text_is_read(content: str) -> None:
    bases(content, arguments={}, target={})
