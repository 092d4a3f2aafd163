"""``registry.config``: show, get, set, path, validate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.collection import Collection

from vmreg.cli.common import Table, command, is_dry, print_table, say, show

if TYPE_CHECKING:
    from invoke.context import Context

    from vmreg.config import Settings
    from vmreg.config.change import Change

_NEXT = "next: vm registry start, which applies it"
_KEY_HELP = "dotted path; docker_registry. may be left out"


@command(name="show", help={"format": "table, json or yaml"})
def show_all(_: Context, format_: str = "table") -> None:
    """Show every value in force and where it comes from; secrets are masked."""
    from vmreg.config import load  # noqa: PLC0415 - start-up time of --help

    settings = load()
    show(
        format_,
        table=lambda: _table(settings),
        document=lambda: _document(settings),
    )


def _table(settings: Settings) -> Table:
    from vmreg.config.keys import all_keys, shown  # noqa: PLC0415 - as above

    rows = [
        (key.path, shown(settings, key), settings.origins[key.path]) for key in all_keys().values()
    ]
    return Table(columns=("key", "value", "origin"), rows=tuple(rows))


def _document(settings: Settings) -> dict[str, object]:
    from vmreg.config.keys import all_keys, plain, shown  # noqa: PLC0415 - as above

    return {
        "home": str(settings.home),
        "settings": [
            {
                "key": key.path,
                "value": plain(settings, key),
                "unit": key.kind.unit,
                "text": shown(settings, key),
                "origin": settings.origins[key.path],
            }
            for key in all_keys().values()
        ],
    }


@command(help={"key": _KEY_HELP})
def get(_: Context, key: str) -> None:
    """Print one value in force, and on stderr where it comes from."""
    from vmreg.config import load  # noqa: PLC0415 - start-up time of --help
    from vmreg.config.change import find  # noqa: PLC0415 - as above
    from vmreg.config.keys import shown  # noqa: PLC0415 - as above

    found = find(key)
    settings = load()
    print(shown(settings, found))  # noqa: T201 - the data of this command
    say(f"from: {settings.origins[found.path]}")


@command(
    name="set",
    help={
        "key": _KEY_HELP,
        "value": "the new value; a list is separated by commas",
        "project": "write into the nearest vm.yaml instead of your own config.yaml",
    },
)
def set_one(c: Context, key: str, value: str, project: bool = False) -> None:  # noqa: FBT001, FBT002 - Invoke's way to declare a flag
    """Set one value in your config.yaml, keeping its comments and their order."""
    from vmreg.config.change import change  # noqa: PLC0415 - start-up time of --help

    done = change(key, value, project=project, dry=is_dry(c))
    if is_dry(c):
        _print_difference(done)
        return
    verb = "already has" if done.before == done.after else "now has"
    say(f"{done.path} {verb} {done.key.path} = {value}")
    _warn(done)
    say("next: vm registry config set, for what is missing" if done.incomplete else _NEXT)


def _print_difference(planned: Change) -> None:
    from difflib import unified_diff  # noqa: PLC0415 - start-up time of --help

    lines = unified_diff(
        planned.before.splitlines(),
        planned.after.splitlines(),
        str(planned.path),
        str(planned.path),
        lineterm="",
    )
    for line in lines:
        print(line)  # noqa: T201 - the data of this command


def _warn(done: Change) -> None:
    """Say what the new value does not do: it is overridden, or something beside it is missing."""
    origin = done.settings.origins[done.key.path]
    if not origin.startswith(f"{done.path}:"):
        say(f"note: {origin} overrides it")
    for problem in done.incomplete:
        say(f"still missing: {problem}")


@command
def path(_: Context) -> None:
    """Print the files that are read, strongest first, and whether they exist."""
    from vmreg.config.loading import gather  # noqa: PLC0415 - start-up time of --help

    sources = gather()
    project = sources.project.path if sources.project else sources.cwd / "vm.yaml"
    rows = [
        ("project", str(project), "exists" if sources.project else "absent"),
        ("user", str(sources.user.path), "exists" if sources.user.path.exists() else "absent"),
    ]
    print_table(Table(columns=("file", "path", "state"), rows=tuple(rows)))


@command
def validate(_: Context) -> None:
    """Check every value in every place; each fault is listed with its remedy."""
    from vmreg.config.everything import load_everything  # noqa: PLC0415 - start-up time of --help

    load_everything()
    say("the configuration is valid; next: vm registry start")


ns = Collection("config", show_all, get, set_one, path, validate)
