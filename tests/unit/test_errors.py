from __future__ import annotations

import pytest

from vmreg import errors

CODES = {
    errors.VmregError: 1,
    errors.UsageError: 2,
    errors.ConfigError: 2,
    errors.NotRunningError: 3,
    errors.DegradedError: 4,
    errors.HostError: 5,
    errors.CriterionError: 6,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_every_kind_has_its_exit_code(kind: type[errors.VmregError], code: int) -> None:
    assert kind(brief="it failed").exit_code == code


def test_no_kind_is_without_an_expected_code() -> None:
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VmregError)
    }
    assert kinds == set(CODES)


def test_the_parts_are_lines_and_absent_ones_leave_none() -> None:
    whole = errors.VmregError(brief="what", details="found\ntwice", resolution="do this")
    assert str(whole) == "what\nfound\ntwice\ndo this"
    assert str(errors.VmregError(brief="what", resolution="do this")) == "what\ndo this"
    assert str(errors.VmregError(brief="what")) == "what"


def test_errors_compare_by_kind_and_parts() -> None:
    one = errors.HostError(brief="x", details="y")
    assert one == errors.HostError(brief="x", details="y")
    assert one != errors.HostError(brief="x")
    assert one != errors.VmregError(brief="x", details="y")


def test_every_problem_of_a_configuration_is_listed() -> None:
    problems = tuple(
        errors.Problem(
            source=f"{name}.yaml",
            path="docker_registry.port",
            value=name,
            message="not a number",
            remedy="write 5000",
        )
        for name in ("one", "two")
    )
    error = errors.ConfigError(brief="2 faults", problems=problems, resolution="repair them")
    assert str(error).splitlines() == [
        "2 faults",
        "  one.yaml: docker_registry.port = one: not a number; write 5000",
        "  two.yaml: docker_registry.port = two: not a number; write 5000",
        "repair them",
    ]
    bare = errors.ConfigError(brief="1 fault", problems=problems[:1])
    assert str(bare).splitlines()[-1].startswith("  one.yaml")


def test_an_error_without_a_brief_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="brief"):
        errors.VmregError()  # type: ignore[call-arg]  # the test
