"""The images that a project names: in its ``vm.yaml``, its Compose files and its Dockerfiles."""

from __future__ import annotations

import fnmatch
import os
from typing import TYPE_CHECKING

from vmreg.errors import ConfigError
from vmreg.manifests import host_platform, parse_platform
from vmreg.prewarm import compose, references
from vmreg.prewarm.dockerfile import bases
from vmreg.prewarm.reading import Findings
from vmreg.prewarm.variables import parse_env

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from vmreg.prewarm.compose import Build
    from vmreg.prewarm.references import Named, Reference

DOCKERFILES = ("Dockerfile", "Dockerfile.*", "*.Dockerfile")
COMPOSE_FILES = (*compose.FILES, *compose.OVERRIDES, "*compose*.yaml", "*compose*.yml")
_NO_DOCKERFILE = (".dockerignore", "~", ".orig", ".swp")
_NO_BUILD = frozenset[str]()


def named_in(path: Path, *, environment: Mapping[str, str] | None = None) -> tuple[Named, ...]:
    """Return the images that a project names, each with its place, in the order of the files.

    ``path`` is the project's ``vm.yaml``, and the Compose files and Dockerfiles beside it are
    read too; or it is one Compose file, read with what it builds; or one Dockerfile. Nothing is
    changed, and an image that is named twice is returned twice.

    :param environment: for the variables in Compose files, before ``.env``; the process's when
        ``None``.
    :raises ConfigError: with every fault in every file.
    """
    folder = path.absolute().parent.resolve()
    variables = dict(os.environ if environment is None else environment)
    findings = Findings(root=folder)
    env = folder / ".env"
    if env.is_file():
        variables = {**parse_env(findings.text(env)), **variables}
    builds: tuple[Build, ...] = ()
    if _matches(path, DOCKERFILES):
        _dockerfile(folder / path.name, findings)
    elif _matches(path, COMPOSE_FILES):
        builds = _compose((folder / path.name,), findings, variables)
    else:
        _vm_yaml(folder / path.name, findings)
        builds = _compose(compose.files_beside(folder), findings, variables)
        _others(folder, findings, builds)
    problems = tuple(dict.fromkeys(findings.problems))
    if problems:
        raise ConfigError(
            brief=f"the images of {path} cannot be told: "
            f"{len(problems)} fault{'s' * (len(problems) > 1)}",
            problems=problems,
            resolution="Correct them and run the command again.",
        )
    made_here = _results(builds)
    return tuple(one for one in findings.images if one.reference not in made_here)


def _vm_yaml(path: Path, findings: Findings) -> None:
    """Note ``images:`` and ``services.NAME.image`` of a ``vm.yaml``."""
    document = findings.document(path)
    listed = document.root.get("images")
    if listed is not None and not isinstance(listed, list):
        findings.fault(
            findings.place(document, ["images"]),
            "is not a list",
            remedy="write [node:20, postgres:16]",
            key="images",
            value=listed,
        )
        listed = None
    for number, text in enumerate(listed or ()):
        line = document.root["images"].lc.item(number)[0] + 1
        where = findings.shown(path, line)
        findings.image(str(text), where=where, key=f"images[{number}]")
    for name, told in findings.mapping(document, ["services"]).items():
        if isinstance(told, dict) and told.get("image") is not None:
            trail = ["services", name, "image"]
            findings.image(
                str(told["image"]),
                where=findings.place(document, trail),
                key=".".join(map(str, trail)),
            )


def _compose(
    files: Iterable[Path], findings: Findings, variables: Mapping[str, str]
) -> tuple[Build, ...]:
    """Note what Compose files name and build on, and return the builds."""
    builds = compose.read(tuple(files), findings, environment=variables)
    for build in builds:
        if build.inline:
            _bases(build.inline, findings, build=build, where=build.where)
        elif build.dockerfile is not None:
            _dockerfile(build.dockerfile, findings, build=build)
    return builds


def _others(folder: Path, findings: Findings, builds: Iterable[Build]) -> None:
    """Note what the Dockerfiles of a folder build on, but for those that Compose has a use for."""
    read = {_real(build.dockerfile) for build in builds if build.dockerfile is not None}
    for path in sorted(folder.iterdir()):
        is_one = _matches(path, DOCKERFILES) and not path.name.endswith(_NO_DOCKERFILE)
        if is_one and path.is_file() and _real(path) not in read:
            _dockerfile(path, findings)


def _results(builds: Iterable[Build]) -> frozenset[Reference]:
    """Return the names of images that are built here, which no registry has to hold."""
    found = set()
    for build in builds:
        try:
            found.add(references.parse(build.result))
        except ValueError:
            continue
    return frozenset(found)


def _dockerfile(path: Path, findings: Findings, *, build: Build | None = None) -> None:
    clean = _real(path.parent) / path.name
    _bases(findings.text(clean), findings, path=clean, build=build)


def _bases(
    content: str,
    findings: Findings,
    *,
    path: Path | None = None,
    build: Build | None = None,
    where: str = "",
) -> None:
    """Note the images that a Dockerfile's text builds on; ``where`` is the place without a file."""
    found = bases(
        content,
        arguments=build.arguments if build else {},
        target=_target(build.platform if build else ""),
        contexts=build.contexts if build else _NO_BUILD,
    )
    for base in found:
        place = findings.shown(path, base.line) if path else where
        if base.fault:
            findings.fault(
                place,
                base.fault,
                remedy="give it a default: ARG NAME=value before the first FROM",
                value=base.written,
            )
        else:
            platform = base.platform or (build.platform if build else "")
            findings.image(base.text, where=place, platform=platform)


def _target(text: str) -> dict[str, str]:
    """Return the arguments that BuildKit sets for a platform, this host's when empty."""
    host = host_platform()
    try:
        target = parse_platform(text) if text else host
    except ValueError:  # told where the image is noted
        target = host
    return {
        f"{kind}{name}": value
        for kind, platform in (("TARGET", target), ("BUILD", host))
        for name, value in (
            ("PLATFORM", str(platform)),
            ("OS", platform.system),
            ("ARCH", platform.architecture),
            ("VARIANT", platform.variant),
        )
    }


def _matches(path: Path, globs: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.name, glob) for glob in globs)


def _real(path: Path) -> Path:
    """Return a path without links and dots, or as it is when that cannot be."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a circle of links, a NUL
        return path
