"""What single values cannot show: combinations that cannot work, and files that do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vmreg.config.keys import SECRETIVE, all_keys, shown
from vmreg.config.parsers import InvalidValueError
from vmreg.config.secrets import check_private
from vmreg.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vmreg.config.model import Settings

# It is divided among the egress, storage and the edge, and nginx counts whole seconds.
LEAST_TIMEOUT = timedelta(seconds=4)
# With credentials, these decide who gets them or what they open; a project must not.
_TRUSTED = ("upstream.", "repositories", "images.")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the rules look at.

    :param project: the ``vm.yaml`` and its content; ``None`` without one.
    :param faulty: names of keys that have a fault already, so that no rule adds another.
    """

    settings: Settings
    project: tuple[Path, Mapping[str, Any]] | None
    faulty: frozenset[str]


def check(context: Context) -> tuple[Problem, ...]:
    """Return every broken rule; nothing is raised."""
    rules = (_ports, _patience, _plain_http, _certificates, _account, _password, _trusted)
    found = [problem for rule in rules for problem in rule(context)]
    return tuple(one for one in found if _name(one) not in context.faulty)


def _name(problem: Problem) -> str:
    return problem.path.partition(".")[2]


def _broken(context: Context, name: str, message: str, remedy: str) -> Problem:
    key = all_keys()[name]
    return Problem(
        source=context.settings.origins[key.path],
        path=key.path,
        value=shown(context.settings, key) or '""',
        message=message,
        remedy=remedy,
    )


def _ports(context: Context) -> Iterator[Problem]:
    port = context.settings.registry.port
    path, root = context.project or ("", {})
    match root.get("ports"):
        case {"_range": [int(low), int(high)]} if low <= port <= high:
            yield _broken(
                context,
                "port",
                f"lies within ports._range [{low}, {high}] of {path}, which VMs use",
                "choose a port outside of that range",
            )


def _patience(context: Context) -> Iterator[Problem]:
    if context.settings.registry.upstream.timeout < LEAST_TIMEOUT:
        yield _broken(
            context,
            "upstream.timeout",
            "is too short for the steps of one answer",
            f"write {LEAST_TIMEOUT.seconds}s or more",
        )


def _plain_http(context: Context) -> Iterator[Problem]:
    upstream = context.settings.registry.upstream
    for name, url in (("url", upstream.url), ("token_url", upstream.token_url)):
        if url.startswith("http://") and not upstream.allow_http:
            yield _broken(
                context,
                f"upstream.{name}",
                "is not encrypted, so that anyone on the way can change what is asked for",
                "write https://, or set docker_registry.upstream.allow_http to true",
            )


def _certificates(context: Context) -> Iterator[Problem]:
    path = context.settings.registry.upstream.ca_file
    if path is None:
        return
    import ssl  # noqa: PLC0415 - slow, and few need it

    name, remedy = "upstream.ca_file", "name a PEM file with the upstream's CA certificates"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        yield _broken(context, name, "holds no PEM certificate", remedy)
    except OSError as error:
        yield _broken(context, name, f"cannot be read ({error.strerror})", remedy)


def _account(context: Context) -> Iterator[Problem]:
    registry = context.settings.registry
    if registry.credentials is None:
        return
    if not registry.credentials.username:
        yield _broken(context, f"{SECRETIVE}.username", "is missing", "add the account's name")
    if not registry.repositories:
        yield _broken(
            context,
            "repositories",
            "is empty, so that every VM could read all that the account can",
            "list what VMs may pull, such as [library/*, myteam/*], or remove the credentials",
        )
    if not registry.upstream.token_url:
        yield _broken(
            context,
            "upstream.token_url",
            "is empty, but credentials are only ever given to a token service",
            "name the upstream's token service, or remove the credentials",
        )


def _password(context: Context) -> Iterator[Problem]:
    credentials = context.settings.registry.credentials
    if credentials is None:
        return
    name = f"{SECRETIVE}.password_file"
    if credentials.password_file and credentials.password_command:
        yield _broken(context, name, "stands beside a password_command", "keep one of them")
    elif credentials.password_file:
        try:
            check_private(credentials.password_file)
        except InvalidValueError as error:
            yield _broken(context, name, error.message, error.remedy)
    elif not credentials.password_command:
        yield _broken(
            context, name, "is missing, and so is a password_command", "add one of the two"
        )


def _trusted(context: Context) -> Iterator[Problem]:
    settings = context.settings
    if settings.registry.credentials is None or context.project is None:
        return
    project = f"{context.project[0]}:"
    for key in all_keys().values():
        from_project = settings.origins[key.path].startswith(project)
        if from_project and key.name.startswith(_TRUSTED):
            yield _broken(
                context,
                key.name,
                "comes from a project's file, and would decide over your credentials",
                "move it to your own config.yaml, or remove the credentials",
            )
