"""Names of images, as Docker reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.errors import UsageError
from vmreg.prewarm.references import from_command_line, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "asked"),
    [
        ("node", "docker.io", "library/node", "latest"),
        ("node:20", "docker.io", "library/node", "20"),
        ("acme/tool:v1", "docker.io", "acme/tool", "v1"),
        ("docker.io/node:20", "docker.io", "library/node", "20"),
        ("index.docker.io/library/node", "docker.io", "library/node", "latest"),
        (f"node@{DIGEST}", "docker.io", "library/node", DIGEST),
        (f"node:20@{DIGEST}", "docker.io", "library/node", DIGEST),
        ("a/b/c:x", "docker.io", "a/b/c", "x"),
        ("ghcr.io/acme/tool:1", "ghcr.io", "acme/tool", "1"),
        ("localhost/tool", "localhost", "tool", "latest"),
        ("localhost:5000/tool:2", "localhost:5000", "tool", "2"),
        ("registry-1.docker.io/library/node", "registry-1.docker.io", "library/node", "latest"),
        ("a__b/c--d.e", "docker.io", "a__b/c--d.e", "latest"),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(
    text: str, registry: str, repository: str, asked: str
) -> None:
    found = parse(text)

    assert (found.registry, found.repository, found.asked) == (registry, repository, asked)
    assert found.is_cached == (registry == "docker.io")
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":20",
        "Node",
        "node:",
        "node:a b",
        "node:" + "x" * 129,
        "node@sha256:abc",
        "node@md5:" + "a" * 32,
        "a//b",
        "/node",
        "node/",
        "a..b",
        "x" * 256,
        "ghcr.io/",
        "-x.io/node",
        "node:20\n",
        "${IMAGE}",
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|names) "):
        parse(text)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert parse(str(found)) == found


def test_every_wrong_name_on_a_command_line_is_told() -> None:
    good = from_command_line(["node:20"])
    assert [(str(one.reference), one.where) for one in good] == [("node:20", "command line")]

    with pytest.raises(UsageError) as caught:
        from_command_line(["Node", "node:20", "b:"])

    assert "'Node' is not the name of an image" in caught.value.brief
    assert "'b:' has a tag" in caught.value.brief
