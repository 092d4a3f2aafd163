"""The settings and their defaults: one typed model.

pydantic checks the types and collects every fault; what a text means is up to the kinds.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations when the module runs
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from vmreg.config import kinds, secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

_STRICT = ConfigDict(extra="forbid")

# Where Docker Hub keeps blobs (docs.docker.com, allowlist for Docker Desktop), and the domain in
# which Docker has added such hosts before. The proxy keeps connections only to full names.
HUB_BLOBS = (
    "production.cloudflare.docker.com",
    "production.cloudfront.docker.com",
    "docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
    "*.docker.com",
)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UpstreamSettings:
    """The registry that is mirrored.

    :param url: scheme, host and port, no path.
    :param allow_http: whether ``url`` and ``token_url`` may be unencrypted.
    :param ca_file: PEM certificates that are trusted for the upstream instead of the system's.
    :param token_url: where tokens are asked for; empty when none are needed.
    :param token_service: the service that a token is asked for.
    :param redirect_hosts: where blobs may be fetched from; ``*.`` stands for one or more labels.
    :param network: a Docker network on which the upstream is reachable; empty for none.
    :param timeout: how long a cold request waits for the first answer.
    """

    url: Annotated[str, kinds.URL] = "https://registry-1.docker.io"
    allow_http: Annotated[bool, kinds.BOOLEAN] = False
    ca_file: Annotated[Path | None, kinds.FILE] = None
    token_url: Annotated[str, kinds.OPTIONAL_URL] = "https://auth.docker.io/token"  # noqa: S105 - an address, not a secret
    token_service: Annotated[str, kinds.SERVICE] = "registry.docker.io"  # noqa: S105 - a name, not a secret
    redirect_hosts: Annotated[tuple[str, ...], kinds.HOSTS] = HUB_BLOBS
    network: Annotated[str, kinds.NETWORK] = ""
    timeout: Annotated[timedelta, kinds.DURATION] = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Credentials:
    """An account at the upstream. The secret itself is never held here.

    :param password_file: a file that only its owner can read, or ``None``.
    :param password_command: a program that prints the password, and its arguments.
    """

    username: Annotated[str, kinds.USERNAME] = ""
    password_file: Annotated[Path | None, kinds.FILE] = None
    password_command: Annotated[tuple[str, ...], kinds.ARGV] = Field(default=(), repr=False)

    def password(self) -> str:
        """Return the password, read or asked for anew at each call.

        :raises ConfigError: the file cannot be read, or others can read it too.
        :raises HostError: the command is not installed.
        :raises VmregError: the command failed, or there is no password.
        """
        if self.password_file is not None:
            return secrets.read(self.password_file)
        return secrets.ask(self.password_command)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ImageSettings:
    """Component images; empty for those that the project provides."""

    proxy: Annotated[str, kinds.IMAGE] = ""
    storage: Annotated[str, kinds.IMAGE] = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RegistrySettings:
    """All of ``docker_registry``.

    :param enabled: whether new VMs use the cache.
    :param port: TCP port on the host.
    :param bind: IPv4 addresses to listen on; empty for loopback and the engine's bridge.
    :param gc_policy: an image that nobody pulled for this long is evicted.
    :param max_size: bytes that the cache may occupy.
    :param lru_cleanup: whether the least recently used image goes first when space is short.
    :param tag_freshness: how long a tag's answer is believed without asking the upstream.
    :param fetch_size: bytes that fetches in progress may occupy.
    :param instance: what the names of containers and of their network begin with.
    :param credentials: an account at the upstream, or ``None``.
    :param repositories: what is served, ``*`` stands for characters other than a slash; empty for
        everything.
    """

    enabled: Annotated[bool, kinds.BOOLEAN] = False
    port: Annotated[int, kinds.PORT] = 5000
    bind: Annotated[tuple[str, ...], kinds.ADDRESSES] = ()
    gc_policy: Annotated[timedelta, kinds.DURATION] = timedelta(days=30)
    max_size: Annotated[int, kinds.SIZE] = 50_000_000_000
    lru_cleanup: Annotated[bool, kinds.BOOLEAN] = True
    tag_freshness: Annotated[timedelta, kinds.DURATION] = timedelta(minutes=1)
    fetch_size: Annotated[int, kinds.SIZE] = 10_000_000_000
    instance: Annotated[str, kinds.INSTANCE] = "vm-registry"
    repositories: Annotated[tuple[str, ...], kinds.REPOSITORIES] = ()
    upstream: UpstreamSettings = UpstreamSettings()
    credentials: Credentials | None = None
    images: ImageSettings = ImageSettings()


@plain_dataclass(frozen=True, kw_only=True)
class Settings:
    """The configuration in force.

    :param home: the user's folder of this project: ``VM_HOME``, or ``~/.vm``.
    :param origins: dotted path to ``default``, ``FILE:LINE``, a variable's name or
        ``command line``, for every key.
    """

    home: Path
    registry: RegistrySettings
    origins: Mapping[str, str]

    @property
    def state_dir(self) -> Path:
        """The folder of the cache and all that belongs to it."""
        return self.home / "registry"

    @property
    def network_name(self) -> str:
        """Name of the network that the containers share."""
        return self.registry.instance

    @property
    def proxy_name(self) -> str:
        """Name of the container in front."""
        return f"{self.registry.instance}-proxy"

    @property
    def storage_name(self) -> str:
        """Name of the container that keeps the images."""
        return f"{self.registry.instance}-storage"
