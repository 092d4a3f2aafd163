"""What the hub answers to a request: decided here, sent by the service, carried out by nginx."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.hubd.options import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JSON = {"Content-Type": "application/json"}
API_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as nginx passes it on.

    :param role: ``registry``, ``auth``, ``cdn`` or ``foreign``, by the host name asked for.
    :param path: without the query.
    :param client: the peer's address.
    """

    method: str
    role: str
    path: str
    query: str = ""
    authorization: str = ""
    client: str = ""
    range: str = ""

    @property
    def target(self) -> str:
        """Path and query as they were sent."""
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response.

    :param hand_over: internal nginx location that shall answer instead.
    :param hang: say nothing until the fault is over, then close the connection.
    :param spoiled: file to send as the body in the manner of ``fault``.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hand_over: str = ""
    hang: bool = False
    spoiled: Path | None = None
    fault: Fault = Fault.NONE


def hand_over(location: str, headers: Mapping[str, str]) -> Answer:
    """Let nginx answer from one of its internal locations."""
    return Answer(hand_over=location, headers=headers)


def plain_error(status: int, text: str) -> Answer:
    """Return an error that is not the registry's own."""
    return Answer(status=status, headers={"Content-Type": "text/plain"}, body=f"{text}\n".encode())


def registry_error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """Return an error in the registry API's own form."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]})
    return Answer(
        status=status, headers={**JSON, **API_VERSION, **(headers or {})}, body=body.encode()
    )
