"""The cache's settings and the project together, with the faults of both at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg.config import loading, project

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vmreg.config.model import Settings
    from vmreg.config.project import Project


def load_everything(*, overrides: Mapping[str, str] | None = None) -> tuple[Settings, Project]:
    """Return both; nothing is written, and a second call reads everything anew.

    :param overrides: the command line's texts for the project, see
        :func:`vmreg.config.project.load_project`.
    :raises ConfigError: with every fault in every place.
    """
    sources = loading.gather(overrides=overrides)
    described, ours = project.evaluate(sources)
    settings, theirs = loading.evaluate(loading.gather())
    # A file that cannot be parsed is a fault of both.
    problems = tuple(dict.fromkeys((*theirs, *ours)))
    if problems:
        raise loading.failure(problems)
    return settings, described
