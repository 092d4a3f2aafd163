"""The ``vm`` command and the tasks behind it have the same options, and none of them more."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from vmreg.cli import front
from vmreg.cli.tree import ns
from vmreg.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = f"{sys.executable} -c 'from vmreg.cli.front import main; main()'"
FRONT_ONLY = {"completion"}  # Invoke has a completion of its own


def _leaves(group: click.Group, trail: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _leaves(command, (*trail, name))
        elif name not in FRONT_ONLY:
            yield " ".join((*trail, name)), command


LEAVES = dict(_leaves(front.commands))


def _task_of(command: click.Command) -> str:
    assert isinstance(command.callback, functools.partial)
    return str(command.callback.args[0])


def _invoke_side(task: str) -> dict[str, Any]:
    return {one.attr_name or one.name: one for one in ns[task].get_arguments()}


@pytest.mark.parametrize("words", LEAVES)
def test_a_command_has_the_options_of_its_task(words: str) -> None:
    command = LEAVES[words]
    front_side = {one.name for one in command.params} - {"dry_run"}
    assert front_side == set(_invoke_side(_task_of(command)))


@pytest.mark.parametrize("words", LEAVES)
def test_an_option_is_of_the_same_kind_on_both_sides(words: str) -> None:
    command = LEAVES[words]
    behind = _invoke_side(_task_of(command))
    for one in command.params:
        if one.name == "dry_run":
            continue
        argument = behind[one.name or ""]
        is_flag = isinstance(one, click.Option) and bool(one.is_flag)
        is_many = bool(getattr(one, "multiple", False)) or one.nargs == -1
        assert is_flag == (argument.kind is bool), one.name
        assert is_many == (argument.kind is list), one.name
        default = one.get_default(click.Context(command))
        if not is_many and isinstance(default, str | int):  # else it is left to the task
            assert default == argument.default, one.name


@pytest.mark.parametrize("words", LEAVES)
def test_a_command_can_be_dry_when_its_task_can(words: str) -> None:
    command = LEAVES[words]
    body = ns[_task_of(command)].body.__wrapped__
    assert ("is_dry" in body.__code__.co_names) == ("dry_run" in {p.name for p in command.params})


@pytest.mark.parametrize("words", LEAVES)
def test_a_command_says_what_its_task_says(words: str) -> None:
    command = LEAVES[words]
    said = (ns[_task_of(command)].__doc__ or "").splitlines()[0].replace("``", "")
    assert (command.help or "").replace("vm registry", "registry") == said.replace(
        "registry.status", "registry status"
    )


def test_every_task_has_a_command() -> None:
    assert {_task_of(command) for command in LEAVES.values()} == set(ns.task_names)


@pytest.mark.parametrize("arguments", [["create", "--docker", "19"], ["list", "--format", "xml"]])
def test_a_wrong_choice_is_wrong_usage_and_lists_the_right_ones(arguments: list[str]) -> None:
    result = CliRunner().invoke(front.commands, arguments)
    assert result.exit_code == 2
    assert "is not one of" in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(front.commands, ["completion", shell])
    assert result.exit_code == 0
    assert "_VM_COMPLETE" in result.output


def test_completion_knows_commands_and_choices() -> None:
    def complete(line: str, word: int) -> list[str]:
        environment = {**os.environ, "_VM_COMPLETE": "bash_complete", "COMP_WORDS": line}
        environment["COMP_CWORD"] = str(word)
        program = [sys.executable, "-c", "from vmreg.cli.front import main; main()"]
        return run(program, environment=environment).output.split()

    assert "plain,registry" in complete("vm re", 1)
    assert "plain,28.5" in complete("vm create --docker ", 3)


@pytest.mark.parametrize("group", [[], ["registry"], ["registry", "config"]], ids=str)
def test_help_in_a_pipe_cuts_nothing_off(group: list[str]) -> None:
    shown = CliRunner().invoke(front.commands, [*group, "--help"]).output
    assert "..." not in shown.replace("[ARGS]...", "")


def test_help_imports_nothing_but_click() -> None:
    script = (
        "import sys; from vmreg.cli import front; front.commands;"
        "heavy = {'docker', 'pydantic', 'invoke', 'rich', 'jinja2', 'yaml'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", script]).output == "\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_taken_for_empty_ones(closed: str) -> None:
    script = (
        f"exec 9>&2; {sys.executable} -c 'from vmreg.cli.front import main; main()' --help {closed}"
    )
    assert run(["sh", "-c", script]).exit_code == 0


def test_a_full_disk_is_said_and_not_a_traceback() -> None:
    for words in ("--help", "completion bash", "registry config show"):
        done = run(["sh", "-c", f"{PROGRAM} {words} > /dev/full"], check=False)
        assert (done.exit_code, done.errors) == (1, "error: No space left on device\n")
