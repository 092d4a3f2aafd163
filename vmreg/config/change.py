"""Set one key in the user's file or the project's, after the result has been checked."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg.config.edit import set_value
from vmreg.config.files import PROJECT_FILE, parse
from vmreg.config.keys import ROOT, Key, all_keys, name_of
from vmreg.config.layers import COMMAND_LINE, from_text, unknown
from vmreg.config.loading import DEFAULT, Sources, evaluate, failure, gather
from vmreg.errors import HostError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vmreg.config.files import Document
    from vmreg.config.model import Settings

NEW_FILE_MODE = 0o600


@dataclass(frozen=True, kw_only=True)
class Change:
    """What setting a key does.

    :param path: the file.
    :param before: its text; empty when it does not exist.
    :param settings: what is in force afterwards.
    :param incomplete: what is still missing beside the new value.
    """

    key: Key
    path: Path
    before: str
    after: str
    settings: Settings
    incomplete: tuple[Problem, ...]


def find(path: str) -> Key:
    """Return the key of a dotted path; ``docker_registry.`` may be left out.

    :raises ConfigError: there is no such key.
    """
    name = name_of(path)
    if name not in all_keys():
        raise failure([unknown(name, "", source=COMMAND_LINE)])
    return all_keys()[name]


def change(
    path: str,
    text: str,
    *,
    project: bool = False,
    dry: bool = False,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Change:
    """Set a key in a file, keeping all else in it, and return what was done.

    The file is replaced at once or not at all; simultaneous calls wait for each other. A second
    call with the same value leaves the file alone.

    :param text: the value as it is written on a command line.
    :param project: change the nearest ``vm.yaml`` instead of the user's file.
    :param dry: change nothing.
    :raises ConfigError: the value is bad, or the file would have a fault that it did not have.
    :raises UsageError: there is no project file, or the file has a form that cannot be edited.
    :raises HostError: the file cannot be written.
    """
    home = gather(environment=environment, cwd=cwd).home
    with nullcontext() if dry else _alone(home):
        sources = gather(environment=environment, cwd=cwd)
        planned = _plan(sources, find(path), text, project=project)
        if not dry and planned.after != planned.before:
            write(planned.path, planned.after)
    return planned


def _plan(sources: Sources, key: Key, text: str, *, project: bool) -> Change:
    document = _target(sources, project=project)
    if document.problems:
        raise failure(document.problems)
    leaf = from_text(
        key,
        _located(key, text, document.path, sources.cwd, project=project),
        source=COMMAND_LINE,
        base=sources.cwd,
    )
    if isinstance(leaf, Problem):
        raise failure([leaf])
    before = document.path.read_bytes().decode() if document.path.exists() else ""
    after = set_value(before, (ROOT, *key.name.split(".")), leaf.value)
    changed = parse(document.path, after)
    _, old = evaluate(sources)
    settings, new = evaluate(
        replace(sources, project=changed) if project else replace(sources, user=changed)
    )
    known = {_without_line(problem) for problem in old}
    added = [problem for problem in new if _without_line(problem) not in known]
    if any(problem.source != DEFAULT for problem in added):
        raise failure(added)
    return Change(
        key=key,
        path=document.path,
        before=before,
        after=after,
        settings=settings,
        incomplete=tuple(added),
    )


def _target(sources: Sources, *, project: bool) -> Document:
    if not project:
        return sources.user
    if sources.project is None:
        raise UsageError(
            brief=f"there is no {PROJECT_FILE} in {sources.cwd} or above it",
            resolution=f"Make one (an empty {PROJECT_FILE} will do), or leave out --project.",
        )
    return sources.project


def _located(key: Key, text: str, file: Path, cwd: Path, *, project: bool) -> str:
    """Return a path, typed relative to the current folder, as the file has to hold it."""
    if not key.kind.is_path or not text or text.startswith(("/", "~")):
        return text
    absolute = str(cwd / text)
    return os.path.relpath(absolute, file.parent) if project else absolute


def _without_line(problem: Problem) -> Problem:
    return replace(problem, source=re.sub(r":\d+$", "", problem.source))


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    from filelock import FileLock  # noqa: PLC0415 - slow, and only writing needs it

    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "config.lock")
        lock.acquire()
    except OSError as error:
        raise HostError(
            brief=f"{home} cannot be used", details=str(error), resolution="Check VM_HOME."
        ) from error
    try:
        yield
    finally:
        lock.release()


def write(path: Path, text: str, *, new_mode: int = NEW_FILE_MODE) -> None:
    """Replace a file, or the file that a link points to, in one step; keep its mode and owner.

    A second call is harmless.

    :param new_mode: the mode of a file that does not exist yet.
    :raises HostError: it cannot be written; what was there is still there.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            _take_over(file.fileno(), target, new_mode=new_mode)
            os.fsync(file.fileno())
        scratch.replace(target)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        scratch.unlink(missing_ok=True)


def _take_over(descriptor: int, target: Path, *, new_mode: int) -> None:
    """Give a new file the mode and the owner of the one that it replaces."""
    if not target.exists():
        os.fchmod(descriptor, new_mode)
        return
    status = target.stat()
    os.fchmod(descriptor, status.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _unwritable(path: Path, error: OSError) -> HostError:
    return HostError(
        brief=f"{path} cannot be written",
        details=str(error),
        resolution="Check who owns it and its folder.",
    )
