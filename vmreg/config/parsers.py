"""One pure parser per kind of value: what a layer wrote, to what the settings hold.

What is accepted here ends up in nginx's configuration and on command lines, so each parser names
the characters it lets through instead of those it keeps out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from vmreg.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

HIGHEST_PORT = 65_535
LONGEST_HOST = 253
LEAST_CPUS = 0.01  # the kernel grants no shorter slice: 1 ms in 100 ms
MOST_CPUS = 8192  # that a kernel can be built for
LEAST_MEMORY_BYTES = 6 * 2**20  # dockerd refuses less
PROVIDERS = ("docker",)
DOCKER_VERSIONS = ("20.10", "26.1", "28.5")

_HOST = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_URL = re.compile(
    rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?(/[a-z0-9._~/-]*)?", re.ASCII | re.IGNORECASE
)
_HOST_PATTERN = re.compile(rf"(?:\*\.)?{_HOST}(?::[0-9]{{1,5}})?")
_REPOSITORY = re.compile(r"[a-z0-9*](?:[a-z0-9._*-]*[a-z0-9*])?(?:/[a-z0-9*][a-z0-9._*-]*)*")
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?")
_INSTANCE = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
_USERNAME = re.compile(r"[A-Za-z0-9_.@-]+")
_VM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class InvalidValueError(ValueError):
    """A value that cannot be used.

    :param message: completes the sentence "the value ...".
    :param remedy: what to write instead.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        """Keep both parts; the exception's own text is the message."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def boolean(value: object) -> bool:
    """Return a YAML boolean; ``yes``, ``on`` and 1 are refused."""
    if not isinstance(value, bool):
        raise InvalidValueError("is not true or false", remedy="write true or false")
    return value


def port(value: object) -> int:
    """Return a TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= HIGHEST_PORT:
        raise InvalidValueError("is not a port", remedy=f"write a number from 1 to {HIGHEST_PORT}")
    return int(value)


def size(value: object) -> int:
    """Return bytes, more than none."""
    remedy = "write a size with its unit, such as 50GB or 512MiB"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidValueError("is not a size", remedy=remedy)
    try:
        parsed = parse_size(str(value))
    except ValueError as error:
        raise InvalidValueError(str(error), remedy=remedy) from error
    if not parsed:
        raise InvalidValueError("is no room at all", remedy=remedy)
    return parsed


def duration(value: object) -> timedelta:
    """Return a duration of at least a second."""
    remedy = "write a number and one of s, m, h, d, w, such as 30d"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidValueError("is not a duration", remedy=remedy)
    try:
        parsed = parse_duration(str(value))
    except ValueError as error:
        raise InvalidValueError(str(error), remedy=remedy) from error
    if not parsed:
        raise InvalidValueError("is no time at all", remedy=remedy)
    return parsed


def addresses(value: object) -> tuple[str, ...]:
    """Return IPv4 addresses that do not open the cache to the internet, each once."""
    return tuple(dict.fromkeys(_address(one) for one in _items(value)))


def _address(text: str) -> str:
    from ipaddress import AddressValueError, IPv4Address  # noqa: PLC0415 - start-up time

    try:
        address = IPv4Address(text)
    except AddressValueError as error:
        raise InvalidValueError(
            f"holds {text}, which is not an IPv4 address",
            remedy="write addresses of this host, such as [127.0.0.1, 172.17.0.1]",
        ) from error
    if address.is_unspecified:
        raise InvalidValueError(
            "would let in every network that this host is on",
            remedy="name the addresses that VMs reach, or leave it empty",
        )
    if address.is_global or address.is_multicast or address.is_reserved:
        raise InvalidValueError(
            f"holds {text}, which is not a private address",
            remedy="name loopback or private addresses only",
        )
    return text


def url(value: object) -> str:
    """Return ``scheme://host[:port]`` without a slash at its end."""
    remedy = "write https:// and a host, such as https://registry-1.docker.io"
    text = _string(value, remedy=remedy)
    scheme, host, number, path = _split_url(text, remedy=remedy)
    if path.strip("/"):
        raise InvalidValueError("has a path, but a registry is always at the root", remedy=remedy)
    return f"{scheme}://{host}{number}"


def optional_url(value: object) -> str:
    """Return a URL with its path, or the empty string."""
    remedy = 'write https://, a host and a path, or "" for an upstream that needs no token'
    text = _string(value, remedy=remedy)
    if not text:
        return ""
    scheme, host, number, path = _split_url(text, remedy=remedy)
    return f"{scheme}://{host}{number}{path}"


def _split_url(text: str, *, remedy: str) -> tuple[str, str, str, str]:
    if "@" in text:
        raise InvalidValueError(
            "has a user name in it",
            remedy="use docker_registry.credentials in your own configuration",
        )
    match = _URL.fullmatch(text)
    if match is None or len(match[2]) > LONGEST_HOST:
        raise InvalidValueError("is not the URL of a registry", remedy=remedy)
    number = match[3] or ""
    if number and not 1 <= int(number) <= HIGHEST_PORT:
        raise InvalidValueError("has a port that does not exist", remedy=remedy)
    return match[1].lower(), match[2].lower(), number and f":{int(number)}", match[4] or ""


def host_patterns(value: object) -> tuple[str, ...]:
    """Return host names, with a port or without; ``*.`` in front stands for one or more labels."""
    return _matching(
        value,
        _HOST_PATTERN,
        message="is not a host name",
        remedy="write host names such as cdn.example.com or *.example.com",
    )


def repository_patterns(value: object) -> tuple[str, ...]:
    """Return repository names; ``*`` stands for any characters except a slash."""
    return _matching(
        value,
        _REPOSITORY,
        message="is not a repository pattern",
        remedy="write names such as library/node or library/*",
    )


def image(value: object) -> str:
    """Return an image reference, or the empty string."""
    remedy = "write an image reference such as registry:2, or leave it empty"
    return _text(value, _IMAGE, message="is not an image reference", remedy=remedy, empty=True)


def instance(value: object) -> str:
    """Return what container names begin with."""
    remedy = "write lower-case letters, digits and hyphens, 41 at most"
    return _text(value, _INSTANCE, message="cannot begin a container's name", remedy=remedy)


def network(value: object) -> str:
    """Return a Docker network's name, or the empty string."""
    remedy = "write the name of a Docker network, or leave it empty"
    return _text(value, _NETWORK, message="is not a network's name", remedy=remedy, empty=True)


def service(value: object) -> str:
    """Return the service for which tokens are asked."""
    remedy = "write the service that the registry's challenge names, such as registry.docker.io"
    return _text(value, _SERVICE, message="is not a token service", remedy=remedy)


def username(value: object) -> str:
    """Return the name of an account at the upstream."""
    remedy = "write the account's name as the upstream knows it"
    return _text(value, _USERNAME, message="is not a user name", remedy=remedy)


def provider(value: object) -> str:
    """Return what makes the VMs."""
    return _one_of(value, PROVIDERS, what="provider")


def vm_name(value: object) -> str:
    """Return a name that a VM can have."""
    remedy = "write 1 to 63 letters, digits, -, _ and ., with a letter or a digit in front"
    return _text(value, _VM_NAME, message="is not a name for a VM", remedy=remedy)


def cpus(value: object) -> float:
    """Return a number of CPUs, which need not be whole."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not LEAST_CPUS <= value <= MOST_CPUS:  # type: ignore[operator]  # a number
        raise InvalidValueError(
            "is not a number of CPUs", remedy=f"write a number from {LEAST_CPUS} on, such as 1.5"
        )
    return float(value)  # type: ignore[arg-type]  # as above


def memory(value: object) -> int:
    """Return bytes of memory, as many as an engine accepts or more."""
    text = str(value).strip()
    if not isinstance(value, bool) and re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)?", text):
        raise InvalidValueError("has no unit", remedy=f"write {text}MB, if megabytes are meant")
    found = size(value)
    if found < LEAST_MEMORY_BYTES:
        raise InvalidValueError(
            "is less than the 6MiB that an engine asks for", remedy="write more, such as 512MB"
        )
    return found


def docker_version(value: object) -> str:
    """Return the Docker release, major and minor number; the minor number may be left out."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        # YAML takes a bare 20.10 for the number 20.1.
        numbers = {float(one): one for one in DOCKER_VERSIONS}
        value = numbers.get(value, str(value))
    short = {one.partition(".")[0]: one for one in DOCKER_VERSIONS}
    if isinstance(value, str):
        value = short.get(value, value)
    return _one_of(value, DOCKER_VERSIONS, what="Docker release that VMs can have")


def port_range(value: object) -> tuple[int, int]:
    """Return the lowest and the highest of a range of TCP ports."""
    remedy = f"write two numbers from 1 to {HIGHEST_PORT}, such as [3000, 3009]"
    if not isinstance(value, list | tuple) or len(value) != 2:  # noqa: PLR2004 - lowest, highest
        raise InvalidValueError("is not the lowest and the highest of a range", remedy=remedy)
    try:
        low, high = (port(one) for one in value)
    except InvalidValueError as error:
        raise InvalidValueError("holds what is not a port", remedy=remedy) from error
    if low > high:
        raise InvalidValueError("begins above its end", remedy=f"write [{high}, {low}]")
    return low, high


def path(value: object) -> Path | None:
    """Return a path, ``None`` for the empty string."""
    remedy = "write the path of a file"
    text = _string(value, remedy=remedy)
    return Path(text) if text else None


def argv(value: object) -> tuple[str, ...]:
    """Return a program and its arguments; there is no shell, so one string is refused."""
    found = _items(value, remedy="write a list: [pass, show, docker-hub]")
    if not found or not found[0]:
        raise InvalidValueError("names no program", remedy="write a list: [pass, show, docker-hub]")
    return found


def _items(value: object, *, remedy: str = "write a list, such as [one, two]") -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise InvalidValueError("is not a list of texts", remedy=remedy)
    return tuple(_encodable(str(one), remedy=remedy) for one in value)


def _matching(
    value: object, pattern: re.Pattern[str], *, message: str, remedy: str
) -> tuple[str, ...]:
    found = _items(value, remedy=remedy)
    for one in found:
        if not pattern.fullmatch(one):
            raise InvalidValueError(f"holds {one!r}, which {message}", remedy=remedy)
    return tuple(dict.fromkeys(found))


def _text(
    value: object, pattern: re.Pattern[str], *, message: str, remedy: str, empty: bool = False
) -> str:
    text = _string(value, remedy=remedy)
    if (empty and not text) or pattern.fullmatch(text):
        return text
    raise InvalidValueError(message, remedy=remedy)


def _one_of(value: object, known: Sequence[str], *, what: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise InvalidValueError(f"is not a {what}", remedy=f"write one of: {', '.join(known)}")
    return str(value)


def _string(value: object, *, remedy: str) -> str:
    if not isinstance(value, str):
        raise InvalidValueError("is not a text", remedy=remedy)
    return _encodable(str(value), remedy=remedy)


def _encodable(text: str, *, remedy: str) -> str:
    """Return the text unless no file, variable or argument can hold it."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidValueError("holds a character that cannot be passed on", remedy=remedy)
    return text
