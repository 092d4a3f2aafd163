"""The commands as a user runs them: output, exit codes, terminal or not."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
import yaml
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program

from vmreg.cli import config
from vmreg.cli.common import Table, command, print_table, with_exit_codes
from vmreg.config.keys import all_keys
from vmreg.errors import NotRunningError

if TYPE_CHECKING:
    from pathlib import Path


class Cli:
    """Runs ``registry.config.*`` in a folder of its own."""

    def __init__(self, base: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = base / "home"
        self.project = base / "project" / "vm.yaml"
        self._capture = capture
        registry = Collection("registry")
        registry.add_collection(config.ns)
        self._program = Program(namespace=Collection(registry))

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Return the exit code, what went to stdout, and what went to stderr."""
        task, *rest = words
        code = 0
        try:
            self._program.run(["invoke", f"registry.config.{task}", *rest])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self._capture.readouterr()
        return code, out, err


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("VM_HOME", str(tmp_path / "home"))
    return Cli(tmp_path, capsys)


def test_show_is_tab_separated_and_complete_off_a_terminal(cli: Cli) -> None:
    cli.project.write_text("docker_registry: true\n")
    code, out, err = cli("show")
    rows = [line.split("\t") for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [row[0] for row in rows] == [key.path for key in all_keys().values()]
    assert rows[0] == ["docker_registry.enabled", "true", f"{cli.project}:1"]
    assert ["docker_registry.max_size", "50GB", "default"] in rows


@pytest.mark.parametrize(("form", "parse"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_documents_hold_whole_numbers(cli: Cli, form: str, parse: type) -> None:
    document = parse(cli("show", "--format", form)[1])
    assert document["schema_version"] == 1
    assert document["home"] == str(cli.home)
    by_key = {one.pop("key"): one for one in document["settings"]}
    assert by_key["docker_registry.max_size"] == {
        "value": 50_000_000_000,
        "unit": "bytes",
        "text": "50GB",
        "origin": "default",
    }
    assert by_key["docker_registry.gc_policy"]["value"] == 2_592_000
    assert by_key["docker_registry.bind"]["value"] == []
    assert by_key["docker_registry.upstream.ca_file"]["value"] is None
    assert by_key["docker_registry.credentials.username"]["value"] is None


def test_secrets_are_masked_everywhere(cli: Cli) -> None:
    cli.home.mkdir()
    (cli.home / "config.yaml").write_text(
        "docker_registry:\n  repositories: [library/*]\n"
        "  credentials: {username: me, password_command: [echo, hunter2]}\n"
    )
    outputs = [cli("show")[1], cli("show", "-f", "json")[1], cli("show", "-f", "yaml")[1]]
    outputs.append(cli("get", "credentials.password_command")[1])
    assert all("echo *****" in one and "hunter2" not in one for one in outputs)


def test_an_unknown_format(cli: Cli) -> None:
    code, out, err = cli("show", "--format", "xml")
    assert (code, out) == (2, "")
    assert err == ("error: there is no format 'xml'\nChoose one of: --format table|json|yaml\n")


def test_get_prints_the_value_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_REGISTRY_BIND", "127.0.0.1,10.0.0.1")
    assert cli("get", "docker_registry.bind") == (
        0,
        "127.0.0.1,10.0.0.1\n",
        "from: VM_REGISTRY_BIND\n",
    )
    code, out, err = cli("get", "prot")
    assert (code, out) == (2, "")
    assert "did you mean port?" in err


def test_set_writes_and_says_what_is_next(cli: Cli) -> None:
    code, out, err = cli("set", "port", "5001")
    file = cli.home / "config.yaml"
    assert (code, out) == (0, "")
    assert err == (
        f"{file} now has docker_registry.port = 5001\nnext: vm registry start, which applies it\n"
    )
    assert file.read_text() == "docker_registry:\n  port: 5001\n"
    assert "already has" in cli("set", "port", "5001")[2]


def test_set_says_when_something_stronger_overrides_it(cli: Cli) -> None:
    cli.project.write_text("docker_registry: {port: 5005}\n")
    assert f"note: {cli.project}:1 overrides it\n" in cli("set", "port", "5001")[2]
    cli("set", "port", "5006", "--project")
    assert cli.project.read_text() == "docker_registry: {port: 5006}\n"


def test_set_says_what_is_still_missing(cli: Cli) -> None:
    code, _, err = cli("set", "credentials.username", "me")
    assert code == 0
    assert err.count("still missing: ") == 2
    assert err.endswith("next: vm registry config set, for what is missing\n")


def test_a_bad_value_exits_2_and_writes_nothing(cli: Cli) -> None:
    code, out, err = cli("set", "port", "70000")
    assert (code, out) == (2, "")
    assert "docker_registry.port = 70000: is not a port" in err
    assert not (cli.home / "config.yaml").exists()


def test_dry_prints_the_difference_and_writes_nothing(cli: Cli) -> None:
    code, out, _ = cli("set", "port", "5001", "--dry")
    assert code == 0
    assert out.splitlines()[-2:] == ["+docker_registry:", "+  port: 5001"]
    assert not cli.home.exists()


def test_path_names_the_files_and_whether_they_exist(cli: Cli) -> None:
    user = cli.home / "config.yaml"
    assert cli("path")[1] == f"project\t{cli.project}\tabsent\nuser\t{user}\tabsent\n"
    cli("set", "port", "5001")
    cli.project.write_text("")
    assert cli("path")[1] == f"project\t{cli.project}\texists\nuser\t{user}\texists\n"


def test_validate_lists_every_fault_on_stderr(cli: Cli) -> None:
    assert cli("validate")[::2] == (0, "the configuration is valid; next: vm registry start\n")
    cli.project.write_text("docker_registry: {port: 0, max_size: 1}\n")
    code, out, err = cli("validate")
    assert (code, out) == (2, "")
    assert err.startswith("error: the configuration has 2 faults\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


TABLE = Table(columns=("name", "value"), rows=(("a", "[bold]x[/bold]"), ("b", "y\tz\n")))


def test_a_table_on_a_terminal_has_a_head_and_no_markup() -> None:
    terminal = Terminal()
    print_table(TABLE, output=terminal)
    assert "name" in terminal.getvalue()
    assert "[bold]x[/bold]" in terminal.getvalue()


def test_a_table_elsewhere_has_one_line_per_row() -> None:
    pipe = io.StringIO()
    print_table(TABLE, output=pipe)
    assert pipe.getvalue() == "a\t[bold]x[/bold]\nb\ty z\n"


def test_errors_and_interruptions_have_their_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    @command(name="failing", help={"what": "which failure"})
    def failing(_: Context, what: str) -> None:
        if what == "stopped":
            raise NotRunningError(brief="it is not running", resolution="Start it.")
        raise KeyboardInterrupt

    with pytest.raises(Exit) as stopped:
        failing(Context(), "stopped")
    with pytest.raises(Exit) as interrupted:
        failing(Context(), "interrupted")
    assert (stopped.value.code, interrupted.value.code) == (3, 130)
    assert capsys.readouterr().err == "error: it is not running\nStart it.\ninterrupted\n"


def test_a_reader_that_went_away_ends_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        raise BrokenPipeError

    with pytest.raises(Exit) as gone:
        with_exit_codes(body)
    assert gone.value.code == 141
    assert capfd.readouterr().err == ""
