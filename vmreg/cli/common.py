"""What every command shares: exit codes, talk on stderr, data on stdout.

Nothing slow is imported here: a command that only prints its help pays for none of it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from invoke.exceptions import Exit
from invoke.tasks import task

from vmreg.errors import UsageError, VmregError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from invoke.context import Context
    from invoke.tasks import Task

    from vmreg.stack import Stack

Body: TypeAlias = Callable[..., None]
FORMATS = ("table", "json", "yaml")
SCHEMA_VERSION = 1
INTERRUPTED = 130
BROKEN_PIPE = 141
OWNER = "vmreg"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows for a person. On a terminal it has a head and lines; elsewhere, tabs and nothing else.

    :param columns: the heads, in order.
    :param rows: one text per column.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@overload
def command(body: Body, /) -> Task[Body]: ...


@overload
def command(**options: Any) -> Callable[[Body], Task[Body]]: ...  # noqa: ANN401 - Invoke's own


def command(
    body: Body | None = None,
    /,
    **options: Any,
) -> Task[Body] | Callable[[Body], Task[Body]]:
    """Make an Invoke task whose failures end in a message on stderr and the right exit code.

    Used bare, or with Invoke's options (``name``, ``help``, ``positional``, ``iterable``...). A
    parameter such as ``format_`` becomes ``--format``.
    """
    return _task(body, {}) if body is not None else functools.partial(_task, options=options)


def _task(body: Body, options: Mapping[str, Any]) -> Task[Body]:
    @functools.wraps(body)
    def guarded(*arguments: Any, **keywords: Any) -> None:  # noqa: ANN401 - the task's own
        with_exit_codes(functools.partial(body, *arguments, **keywords))

    made: Task[Body] = task(**options)(guarded)
    return made


def with_exit_codes(body: Callable[[], None]) -> None:
    """Call ``body``; turn what it raises into a message on stderr and an exit code.

    :raises Exit: with the error's own code, 130 after an interruption, 141 when the reader of
        standard output is gone.
    """
    try:
        body()
        sys.stdout.flush()
    except VmregError as error:
        say(f"error: {error}")
        raise Exit(code=error.exit_code) from error
    except KeyboardInterrupt as error:
        say("interrupted")
        raise Exit(code=INTERRUPTED) from error
    except BrokenPipeError as error:
        # Python would complain once more when it flushes standard output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise Exit(code=BROKEN_PIPE) from error
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{place}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the same reason
        raise Exit(code=1) from error


def say(text: str) -> None:
    """Tell a person something; on stderr, so that data stays clean."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def open_stack(overrides: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Yield the stack that the configuration names, and close its connection afterwards.

    :raises ConfigError: the configuration has faults.
    :raises HostError: no engine answers.
    """
    from vmreg.config import load  # noqa: PLC0415 - start-up time
    from vmreg.engine import Engine  # noqa: PLC0415 - as above
    from vmreg.stack import Stack  # noqa: PLC0415 - as above

    settings = load(overrides=overrides or {})
    engine = Engine.connect(owner=OWNER)
    try:
        yield Stack(engine, settings)
    finally:
        engine.close()


def may_ask(*, no_input: bool) -> bool:
    """Return whether a person is there to answer: a terminal, no ``CI``, no ``--no-input``."""
    return not no_input and sys.stdin.isatty() and not os.environ.get("CI")


def ask(question: str, *, default: bool) -> bool:
    """Return a person's yes or no; an empty answer is the default, and so is nothing at all.

    The question goes to stderr. What is neither yes nor no is asked again.
    """
    choices = "[Y/n]" if default else "[y/N]"
    while True:
        sys.stderr.write(f"{question} {choices} ")
        sys.stderr.flush()
        answer = sys.stdin.readline().strip().lower()
        if answer in {"", "y", "yes", "n", "no"}:
            return answer[:1] == "y" if answer else default


def is_dry(context: Context) -> bool:
    """Return whether Invoke's ``--dry`` was given: say what would happen, and do nothing."""
    return bool(context.config.run.dry)


def check_format(chosen: str, *, known: Sequence[str] = FORMATS) -> str:
    """Return ``chosen``.

    :raises UsageError: it is not one of ``known``.
    """
    if chosen not in known:
        raise UsageError(
            brief=f"there is no format {chosen!r}",
            resolution=f"Choose one of: --format {'|'.join(known)}",
        )
    return chosen


def show(
    chosen: str, *, table: Callable[[], Table], document: Callable[[], Mapping[str, object]]
) -> None:
    """Print data on standard output in the chosen format.

    :param chosen: ``table``, ``json`` or ``yaml``.
    :param table: makes the rows; called for ``table`` only.
    :param document: makes the data of JSON and YAML; ``schema_version`` is put in front.
    :raises UsageError: there is no such format.
    """
    check_format(chosen)
    if chosen == "table":
        print_table(table())
        return
    versioned = {"schema_version": SCHEMA_VERSION, **document()}
    (print_json if chosen == "json" else print_yaml)(versioned)


def print_json(document: Mapping[str, object], *, output: TextIO | None = None) -> None:
    """Print a document as JSON, one key a line."""
    import json  # noqa: PLC0415 - start-up time

    (output or sys.stdout).write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_yaml(document: Mapping[str, object], *, output: TextIO | None = None) -> None:
    """Print a document as YAML."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - start-up time

    yaml: Any = YAML(typ="safe", pure=True)  # its options are not typed
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 1_000
    yaml.dump(document, output or sys.stdout)


def print_table(table: Table, *, output: TextIO | None = None) -> None:
    """Print a table: drawn on a terminal; elsewhere tab-separated, headless and complete."""
    stream = output or sys.stdout
    if stream.isatty():
        _draw(table, stream)
        return
    for row in table.rows:
        stream.write("\t".join(" ".join(cell.split()) for cell in row) + "\n")


def _draw(table: Table, stream: TextIO) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - start-up time
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table as Drawing  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    drawing = Drawing(box=SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(table.columns):
        drawing.add_column(column, overflow="fold", no_wrap=position == 0)
    for row in table.rows:
        drawing.add_row(*(Text(cell) for cell in row))
    Console(file=stream).print(drawing)
