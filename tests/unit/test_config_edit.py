"""Values are spliced into a file's text; everything else stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vmreg.config.edit import set_value
from vmreg.config.flow import flow
from vmreg.errors import UsageError

ROOT = "docker_registry"


def edited(text: str, path: str, value: object) -> str:
    return set_value(text, [ROOT, *path.split(".")], value)


@pytest.mark.parametrize(
    ("text", "path", "value", "after"),
    [
        # where there is nothing yet
        ("", "port", 1, "docker_registry:\n  port: 1\n"),
        ("# mine", "port", 1, "# mine\ndocker_registry:\n  port: 1\n"),
        ("---\n", "port", 1, "---\ndocker_registry:\n  port: 1\n"),
        ("a: 1", "port", 1, "a: 1\ndocker_registry:\n  port: 1\n"),
        ("a: 1\n...\n", "port", 1, "a: 1\ndocker_registry:\n  port: 1\n...\n"),
        ("docker_registry:\n", "port", 1, "docker_registry:\n  port: 1\n"),
        (
            "docker_registry: # a\n  # b\nx: 1\n",
            "port",
            1,
            "docker_registry: # a\n  port: 1\n  # b\nx: 1\n",
        ),
        (
            "docker_registry:\n  port: 1\n",
            "upstream.url",
            "https://a.b",
            "docker_registry:\n  port: 1\n  upstream:\n    url: https://a.b\n",
        ),
        # the shorthand
        (
            "docker_registry: true  # on\n\n# next\nx: 1\n",
            "port",
            1,
            "docker_registry:  # on\n  enabled: true\n  port: 1\n\n# next\nx: 1\n",
        ),
        ("{docker_registry: true}\n", "port", 1, "{docker_registry: {enabled: true, port: 1}}\n"),
        ("docker_registry: false", "enabled", True, "docker_registry: true"),
        # a new key goes above the comment that belongs to what follows
        (
            "docker_registry:\n  port: 1  # a\n\n# Services\nservices: {}\n",
            "max_size",
            "1GB",
            "docker_registry:\n  port: 1  # a\n  max_size: 1GB\n\n# Services\nservices: {}\n",
        ),
        (
            "docker_registry:\n    port: 1\n    upstream:\n        url: 'x' # q\n# tail",
            "upstream.timeout",
            "5s",
            (
                "docker_registry:\n    port: 1\n    upstream:\n        url: 'x' # q\n"
                "        timeout: 5s\n# tail"
            ),
        ),
        (
            "docker_registry:\n  instance: |-\n    foo\n\nx: 1",
            "port",
            1,
            "docker_registry:\n  instance: |-\n    foo\n  port: 1\n\nx: 1",
        ),
        ("docker_registry: {port: 1}", "port", 2, "docker_registry: {port: 2}"),
        ("docker_registry: {}", "port", 2, "docker_registry: {port: 2}"),
        (
            "docker_registry: {enabled: true, # c\n  port: 5, }\n",
            "upstream.url",
            "https://x",
            "docker_registry: {enabled: true, # c\n  port: 5, upstream: {url: https://x}, }\n",
        ),
        # a value in the place of another
        (
            "docker_registry:\n  'port' : 1   # a\n",
            "port",
            2,
            "docker_registry:\n  'port' : 2   # a\n",
        ),
        ("docker_registry:\n  port:   # a\n", "port", 2, "docker_registry:\n  port: 2   # a\n"),
        (
            "docker_registry:\n  port:\n    # why\n    5 # x\n",
            "port",
            2,
            "docker_registry:\n  # why\n  port: 2 # x\n",
        ),
        (
            (
                "docker_registry:\n  bind:  # mine\n    - 10.0.0.1 # one\n    # two\n"
                "    - 10.0.0.2 # last\n  port: 1\n"
            ),
            "bind",
            ["10.0.0.3"],
            (
                "docker_registry:\n  # mine\n  # one\n  # two\n"
                '  bind: ["10.0.0.3"] # last\n  port: 1\n'
            ),
        ),
        ("docker_registry:\n  bind:\n  - a\n", "bind", [], "docker_registry:\n  bind: []\n"),
        # line ends, byte order mark, merges
        (
            "docker_registry:\r\n  port: 1\r\nx: 1\r\n",
            "max_size",
            "1GB",
            "docker_registry:\r\n  port: 1\r\n  max_size: 1GB\r\nx: 1\r\n",
        ),
        (
            "\ufeffdocker_registry: true",
            "port",
            1,
            "\ufeffdocker_registry:\n  enabled: true\n  port: 1\n",
        ),
        (
            "b: &b {port: 1}\ndocker_registry:\n  <<: *b\n",
            "port",
            2,
            "b: &b {port: 1}\ndocker_registry:\n  <<: *b\n  port: 2\n",
        ),
    ],
)
def test_only_the_value_changes(text: str, path: str, value: object, after: str) -> None:
    assert edited(text, path, value) == after
    assert edited(after, path, value) == after


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("b: &b {port: 1}\ndocker_registry: *b\n", "port"),
        ("docker_registry:\n  port: &p 5\nx: *p\n", "port"),
        ("docker_registry:\n  ? port\n  : 5\n", "port"),
        ("docker_registry:\n- a\n", "port"),
        ("docker_registry: word\n", "port"),
        ("docker_registry: {enabled}\n", "port"),
        ("docker_registry:\n  port: [[1]]\n", "port"),
        ("docker_registry:\n  port: {a: 1}\n", "port"),
        ("docker_registry: {port: [ # x\n]}\n", "port"),
        ("docker_registry:\n  instance: |-\n    a\n    # b\n", "instance"),
    ],
)
def test_what_cannot_be_spliced_is_refused(text: str, path: str) -> None:
    with pytest.raises(UsageError) as caught:
        edited(text, path, 7)
    assert caught.value == UsageError(
        brief=f"docker_registry.{path} cannot be changed in this file without disturbing it",
        details="the file uses anchors, merges or a layout that would not survive the edit",
        resolution="Change the value with an editor, then check it: vm registry config validate",
    )


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "enabled": st.booleans(),
    "port": st.integers(1, 65535),
    "max_size": st.sampled_from(["1GB", "5 MiB", "10TB"]),
    "instance": st.sampled_from(["a", "on", "null", "1e3", "007"]),
    "bind": st.lists(st.sampled_from(["127.0.0.1", "10.0.0.1", "a b", "#"]), max_size=3),
    "upstream.url": st.sampled_from(["https://a.b", "https://c.d:5000"]),
    "upstream.ca_file": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9),
}
COMMENTS = st.sampled_from(["", "  # one", " # two: {", "   #three"])
LINES = st.sampled_from(["", "# four", "  # five", "#", "    # six - seven"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Return a file with other people's keys, comments anywhere and our keys in many forms."""
    step = draw(st.sampled_from([2, 3, 4]))
    lines = [*draw(st.lists(LINES, max_size=2)), "project: {name: 'x # y'}"]
    form = draw(st.sampled_from(["absent", "true", "false", "null", "flow", "block"]))
    if form in {"true", "false"}:
        lines.append(f"{ROOT}: {form}{draw(COMMENTS)}")
    elif form == "null":
        lines.append(f"{ROOT}:{draw(COMMENTS)}")
    elif form == "flow":
        port = draw(st.sampled_from(["", "port: 1", "port: 1, upstream: {url: 'https://z'}"]))
        lines.append(f"{ROOT}: {{{port}}}{draw(COMMENTS)}")
    elif form == "block":
        lines.append(f"{ROOT}:{draw(COMMENTS)}")
        lines += draw(_block_lines(step))
    lines += [*draw(st.lists(LINES, max_size=3)), f"services:{draw(COMMENTS)}", "- a # b"]
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from(["", newline, newline * 2]))


@st.composite
def _block_lines(draw: st.DrawFn, step: int) -> list[str]:
    inner, lines = " " * step, [" " * step + "port: 1" + draw(COMMENTS)]
    if draw(st.booleans()):
        lines += [draw(LINES), f"{inner}bind:{draw(COMMENTS)}"]
        lines += [f"{inner}- '10.0.0.{n}'{draw(COMMENTS)}" for n in range(draw(st.integers(1, 3)))]
    if draw(st.booleans()):
        lines += [draw(LINES), f"{inner}upstream:{draw(COMMENTS)}"]
        lines += [f"{inner * 2}url: https://x{draw(COMMENTS)}"] * draw(st.integers(0, 1))
    return lines


def data(text: str) -> Any:  # noqa: ANN401 - any YAML value
    return YAML(typ="safe", pure=True).load(text)


@settings(deadline=None, max_examples=60)  # each parses YAML eight times
@given(text=documents(), choice=st.data())
def test_set_round_trips_and_comments_survive(text: str, choice: st.DataObject) -> None:
    path = choice.draw(st.sampled_from(sorted(VALUES)))
    value = choice.draw(VALUES[path])
    after = edited(text, path, value)
    before, now = data(text), data(after)
    node = now[ROOT]
    for part in path.split("."):
        node = node[part] if isinstance(node, dict) else node
    assert node == value
    assert {k: v for k, v in now.items() if k != ROOT} == {
        k: v for k, v in before.items() if k != ROOT
    }
    for comment in ("# one", "# two: {", "#three", "# four", "# five", "# six - seven", "# b"):
        assert after.count(comment) >= text.count(comment)
    untouched = [line for line in text.splitlines() if line.startswith(("project", "- a"))]
    assert [line for line in after.splitlines() if line in untouched] == untouched
    assert ("\r\n" in after) == ("\r\n" in text) or "\n" not in text
    assert edited(after, path, value) == after


@settings(deadline=None)  # other work on the machine is no fault
@given(
    st.recursive(
        st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=12),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_values_are_read_back_as_they_were(value: object) -> None:
    assert data(f"a: {flow(value)}\n") == {"a": value}
