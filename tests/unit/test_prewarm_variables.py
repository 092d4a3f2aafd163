"""Variables in Compose files and Dockerfiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmreg.prewarm.variables import VariableError, expand, parse_env

KNOWN = {"A": "1", "EMPTY": "", "LONG_NAME2": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("n:$A", "n:1"),
        ("n:${A}-slim", "n:1-slim"),
        ("$LONG_NAME2.y", "x.y"),
        ("${B:-20}", "20"),
        ("${B-20}", "20"),
        ("${EMPTY:-20}", "20"),
        ("${EMPTY-20}", ""),
        ("${A:-20}", "1"),
        ("${A:+yes}", "yes"),
        ("${B:+yes}", ""),
        ("${EMPTY:+yes}", ""),
        ("${EMPTY+yes}", "yes"),
        ("${B:-${C:-${A}}}", "1"),
        ("${A:?must}", "1"),
        ("$$A", "$A"),
    ],
)
def test_variables_are_filled_in(text: str, expected: str) -> None:
    assert expand(text, KNOWN, escape="$") == expected


def test_a_backslash_escapes_in_a_dockerfile() -> None:
    assert expand(r"\$A$A", KNOWN, escape="\\") == "$A1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$B", "needs B, which is not set"),
        ("${B}", "needs B, which is not set"),
        ("${B:?say which}", "needs B: say which"),
        ("${EMPTY:?}", "needs EMPTY"),
        ("${A", "without its }"),
        ("${A%x}", "not understood"),
        ("${A::-x}", "not understood"),
        ("${}", "names no variable"),
        ("$ x", "begins no variable"),
        ("x$", "begins no variable"),
        ("${B:-" * 30 + "}" * 30, "nests"),
    ],
)
def test_what_cannot_be_filled_in_is_told(text: str, told: str) -> None:
    with pytest.raises(VariableError, match=told):
        expand(text, KNOWN, escape="$")


@given(st.text(alphabet="${}:-+?AB_ x", max_size=40))
def test_any_text_is_filled_in_or_refused(text: str) -> None:
    try:
        expand(text, KNOWN, escape="$")
    except VariableError:
        assert "$" in text


def test_an_env_file_is_read() -> None:
    content = """
    # comment
    A=1
    export B = two words # comment
    C="three # four"
    D='$five'
    E=six#seven
    F=
    nonsense
    """

    assert parse_env(content) == {
        "A": "1",
        "B": "two words",
        "C": "three # four",
        "D": "$five",
        "E": "six#seven",
        "F": "",
    }
