"""What the host tells the hub at its start, and the names that both sides use."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY_HOST = "registry-1.docker.io"
AUTH_HOST = "auth.docker.io"
CDN_HOST = "production.cloudflare.docker.com"
HUB_HOSTS = (REGISTRY_HOST, AUTH_HOST, CDN_HOST)
# Where faults try to lead a client; whoever follows is seen in the log with the role "foreign".
FOREIGN_HOST = "cdn.hostile.example"

STATE = "/state"
AUTHORITY = "/authority"
CACHE = "/cache"
OPTIONS_FILE = "options.json"
LOG_FILE = "access.log"


class Fault(StrEnum):
    """A way in which the hub can misbehave."""

    NONE = "none"
    BLACKHOLE = "blackhole"
    REFUSE = "refuse"
    RATE_LIMIT = "rate-limit"
    SERVER_ERROR = "server-error"
    STALL = "stall"
    TRUNCATE = "truncate"
    WRONG_DIGEST = "wrong-digest"
    SELF_SIGNED = "self-signed"
    HOSTILE_REALM = "hostile-realm"
    BAD_REDIRECT = "bad-redirect"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The hub's settings, fixed for its life.

    :param bandwidth_bytes_s: cap over all connections together; 0 is none.
    :param quota: counted manifest requests per account or address, never refilled.
    :param username: account that may read the private repository; empty is none.
    :param owner: user and group id that its files are handed to.
    """

    seed: int
    scale: float
    bandwidth_bytes_s: int
    quota: int
    token_lifetime_s: int
    url_lifetime_s: int
    username: str
    password: str
    owner: tuple[int, int]

    def write(self, path: Path) -> None:
        """Write the settings to a file that only its owner may read."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Options:
        """Return what :meth:`write` wrote."""
        told = json.loads(path.read_text())
        return cls(**{**told, "owner": tuple(told["owner"])})
