"""The kinds of values: how each is parsed, read from text, and shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vmreg.config import parsers
from vmreg.units import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler, ValidationInfo
    from pydantic_core import CoreSchema

MASK = "*****"


def _from_word(text: str) -> object:
    """Return a boolean for ``true`` and ``false``, in any case, and else the text."""
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _from_digits(text: str) -> object:
    """Return a number for ASCII digits and else the text."""
    return int(text) if text.isascii() and text.strip().isdecimal() else text


def _from_commas(text: str) -> object:
    """Return the parts between commas; an empty text is an empty list."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def _from_number(text: str) -> object:
    """Return a number for ASCII digits, with a fraction or without, and else the text."""
    return float(text) if re.fullmatch(r" *[0-9]+[.][0-9]+ *", text) else _from_digits(text)


def _from_range(text: str) -> object:
    """Return the parts between commas, digits as numbers."""
    return [_from_digits(part.strip()) for part in text.split(",")]


def _join(value: Any) -> str:  # noqa: ANN401 - each kind knows its own type
    return ",".join(value)


def _as_list(value: Any) -> object:  # noqa: ANN401 - as above
    return list(value)


def _or_empty(value: Any) -> str:  # noqa: ANN401 - as above
    return "" if value is None else str(value)


def _or_none(value: Any) -> object:  # noqa: ANN401 - as above
    return None if value is None else str(value)


def _program_alone(value: Any) -> str:  # noqa: ANN401 - as above
    return f"{value[0]} {MASK}" if value else ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of value is handled. In an ``Annotated`` type it validates with pydantic.

    :param parse: from what YAML gave to the value; raises :class:`parsers.InvalidValueError`.
    :param read: from a variable's or a command line's text to what YAML would have given.
    :param show: the value as a person writes it.
    :param plain: the value for JSON: bytes and seconds as whole numbers.
    :param unit: of a number in JSON: ``bytes``, ``s`` or nothing.
    :param from_text: whether a variable or a command line may set it.
    :param is_path: whether relative texts begin at the file that wrote them.
    """

    parse: Callable[[object], object]
    read: Callable[[str], object] = str
    show: Callable[[Any], str] = str
    plain: Callable[[Any], object] = str
    unit: str = ""
    from_text: bool = True
    is_path: bool = False

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Parse what a layer wrote; a value given to a constructor is only checked for its type."""
        from pydantic_core import core_schema  # noqa: PLC0415 - loaded with the model anyway

        def parse(value: object, info: ValidationInfo) -> object:
            return self.parse(value) if info.context else value

        return core_schema.with_info_before_validator_function(parse, handler(source))


BOOLEAN = Kind(
    parse=parsers.boolean, read=_from_word, show=lambda value: str(value).lower(), plain=bool
)
PORT = Kind(parse=parsers.port, read=_from_digits, plain=int)
SIZE = Kind(parse=parsers.size, show=format_size, plain=int, unit="bytes")
DURATION = Kind(
    parse=parsers.duration,
    show=format_duration,
    plain=lambda value: int(value.total_seconds()),
    unit="s",
)
ADDRESSES = Kind(parse=parsers.addresses, read=_from_commas, show=_join, plain=_as_list)
HOSTS = Kind(parse=parsers.host_patterns, read=_from_commas, show=_join, plain=_as_list)
REPOSITORIES = Kind(
    parse=parsers.repository_patterns, read=_from_commas, show=_join, plain=_as_list
)
URL = Kind(parse=parsers.url)
OPTIONAL_URL = Kind(parse=parsers.optional_url)
SERVICE = Kind(parse=parsers.service)
NETWORK = Kind(parse=parsers.network)
INSTANCE = Kind(parse=parsers.instance)
IMAGE = Kind(parse=parsers.image)
USERNAME = Kind(parse=parsers.username)
FILE = Kind(parse=parsers.path, show=_or_empty, plain=_or_none, is_path=True)
# A program's arguments may hold a secret, and commas do not tell them apart.
ARGV = Kind(parse=parsers.argv, show=_program_alone, plain=_program_alone, from_text=False)
PROVIDER = Kind(parse=parsers.provider)
VM_NAME = Kind(parse=parsers.vm_name)
CPUS = Kind(parse=parsers.cpus, read=_from_number, show="{:g}".format, plain=float)
MEMORY = Kind(parse=parsers.memory, show=format_size, plain=int, unit="bytes")
DOCKER_VERSION = Kind(parse=parsers.docker_version)
PORT_RANGE = Kind(
    parse=parsers.port_range, read=_from_range, show="{0[0]},{0[1]}".format, plain=_as_list
)
