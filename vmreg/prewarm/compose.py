"""Images that Compose files name, and the builds that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from vmreg.prewarm.variables import VariableError, expand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from vmreg.prewarm.reading import Findings

# In the order in which Compose looks for them; it takes the first.
FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDES = ("*.override.yaml", "*.override.yml")
_IMAGE_CONTEXT = "docker-image://"


@dataclass(frozen=True, kw_only=True)
class Build:
    """An image that is built here.

    :param dockerfile: the file, or ``None`` with ``inline``.
    :param inline: the text of a Dockerfile that stands in the Compose file.
    :param where: place of the ``build:`` key.
    :param contexts: names of additional contexts, in lower case.
    :param platform: the service's, or empty.
    :param result: the name that the built image is given, or empty.
    """

    dockerfile: Path | None
    inline: str
    where: str
    arguments: Mapping[str, str]
    contexts: frozenset[str]
    platform: str
    result: str


@dataclass(kw_only=True)
class _Service:
    """What the files say of a service together: a later one's word replaces an earlier one's."""

    name: str
    image: str = ""
    image_at: str = ""
    platform: str = ""
    build: dict[str, Any] = field(default_factory=dict)
    build_at: str = ""
    folder: Path | None = None


def files_beside(folder: Path) -> tuple[Path, ...]:
    """Return the Compose files of a folder as Compose would take them, then all overrides."""
    first = [folder / name for name in FILES if (folder / name).exists()][:1]
    overrides = sorted(path for glob in OVERRIDES for path in folder.glob(glob))
    return (*first, *overrides)


def read(
    files: Sequence[Path], findings: Findings, *, environment: Mapping[str, str]
) -> tuple[Build, ...]:
    """Note the images that the files name together, and return the builds that they ask for.

    The image of a service that is built here is the name of the result, and is left out. A build
    whose context is not a local folder is left out too: its Dockerfile is not here.

    :param environment: the variables that may be used.
    """
    services: dict[str, _Service] = {}
    for path in files:
        document = findings.document(path)
        for name, told in findings.mapping(document, ["services"]).items():
            if isinstance(told, Mapping):
                service = services.setdefault(str(name), _Service(name=str(name)))
                place = partial(findings.place, document, ("services", name))
                _add(service, told, folder=path.parent, place=place)
    evaluated = [_Evaluation(service, findings, environment) for service in services.values()]
    return tuple(build for one in evaluated for build in one.evaluate())


def _add(
    service: _Service, told: Mapping[str, Any], *, folder: Path, place: Callable[[str], str]
) -> None:
    """Add what one file says of a service to what the files before it said.

    :param place: returns where a key of the service stands.
    """
    service.platform = str(told.get("platform") or service.platform)
    if told.get("image") is not None:
        service.image, service.image_at = str(told["image"]), place("image")
    build = told.get("build")
    if build is None:
        return
    given = dict(build) if isinstance(build, Mapping) else {"context": build}
    for key in ("args", "additional_contexts"):
        given[key] = {**service.build.get(key, {}), **_pairs(given.get(key))}
    service.build.update(given)
    service.build_at, service.folder = place("build"), service.folder or folder


class _Evaluation:
    """A service's texts with their variables filled in."""

    def __init__(
        self, service: _Service, findings: Findings, environment: Mapping[str, str]
    ) -> None:
        self._service, self._findings, self._environment = service, findings, environment

    def evaluate(self) -> list[Build]:
        """Note the service's image, or return its build."""
        service = self._service
        at = service.build_at or service.image_at
        platform = self._expanded(service.platform, at, key="platform")
        if service.folder is not None:
            return self._build(service.folder, platform or "")
        text = self._expanded(service.image, service.image_at, key="image")
        if text:
            self._findings.image(
                text, where=service.image_at, key=self._key("image"), platform=platform or ""
            )
        return []

    def _build(self, folder: Path, platform: str) -> list[Build]:
        build = self._service.build
        contexts = self._contexts(build["additional_contexts"])
        context = self._part("context", otherwise=".")
        if context is None or "://" in context or context.startswith("git@"):
            return []
        inline = str(build.get("dockerfile_inline") or "")
        name = self._part("dockerfile", otherwise="Dockerfile")
        if name is None:
            return []
        return [
            Build(
                dockerfile=None if inline else folder / context / name,
                inline=inline,
                where=self._service.build_at,
                arguments=self._arguments(build["args"]),
                contexts=contexts,
                platform=platform,
                result=self._result(),
            )
        ]

    def _result(self) -> str:
        """Return the name of what is built, empty when it cannot be told: nobody pulls that."""
        try:
            return expand(self._service.image, self._environment, escape="$")
        except VariableError:
            return ""

    def _part(self, key: str, *, otherwise: str) -> str | None:
        """Return a text of the build; ``None`` after a fault."""
        value = self._service.build.get(key)
        return self._expanded(str(value or otherwise), self._service.build_at, key=f"build.{key}")

    def _arguments(self, told: Mapping[str, str | None]) -> dict[str, str]:
        """Return build arguments; one without a value comes from the environment."""
        found: dict[str, str] = {}
        for name, value in told.items():
            given = self._environment.get(name)
            if value is not None:
                given = self._expanded(value, self._service.build_at, key=f"build.args.{name}")
            if given is not None:
                found[name] = given
        return found

    def _contexts(self, told: Mapping[str, str | None]) -> frozenset[str]:
        """Return the names of additional contexts; note those that are images."""
        where = self._service.build_at
        for value in told.values():
            given = self._expanded(value or "", where, key="build.additional_contexts") or ""
            if given.startswith(_IMAGE_CONTEXT):
                self._findings.image(given.removeprefix(_IMAGE_CONTEXT), where=where)
        return frozenset(name.lower() for name in told)

    def _expanded(self, text: str, where: str, *, key: str) -> str | None:
        """Return a text with its variables filled in; ``None`` after a fault."""
        try:
            return expand(text, self._environment, escape="$")
        except VariableError as error:
            self._findings.fault(
                where,
                str(error),
                remedy="set it in the environment or in .env, or write ${NAME:-default}",
                key=self._key(key),
                value=text,
            )
            return None

    def _key(self, key: str) -> str:
        return f"services.{self._service.name}.{key}"


def _pairs(told: object) -> dict[str, str | None]:
    """Return what stands in a mapping, or in a list of ``NAME=VALUE``."""
    if isinstance(told, Mapping):
        return {str(name): None if value is None else _plain(value) for name, value in told.items()}
    if not isinstance(told, list):
        return {}
    split = [str(one).partition("=") for one in told]
    return {name: value if equals else None for name, equals, value in split}


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
