"""The VM images: a small Debian each, with a Docker of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vmreg.errors import UsageError
from vmreg.images import Recipe, ensure
from vmreg.vms import provision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vmreg.engine import Engine

# Debian's docker.io carries two network test programs that nothing here runs: 27 MB.
_UNUSED = ("usr/bin/dnet", "usr/sbin/ovrouter")
_PACKAGES = ("docker.io", "iptables", "iproute2", "ca-certificates", "mount", "procps")
_HOOKS = ('mkdir -p "$1/etc/docker"', *(f'rm -f "$1/{path}"' for path in _UNUSED))


@dataclass(frozen=True, kw_only=True)
class Release:
    """A Docker release that VMs can have.

    :param version: major and minor number, such as ``28.5``.
    :param recipe: the root file system that has it.
    :param daemon: the keys of ``daemon.json`` that it is meant to run with.
    """

    version: str
    recipe: Recipe
    daemon: Mapping[str, object] = field(default_factory=dict)

    def settings(self, mirror: str | None) -> dict[str, object]:
        """Return the keys of ``daemon.json`` that it needs, besides the mirror itself, to use one.

        >>> release("20.10").settings("http://h:1")
        {'insecure-registries': ['http://h:1']}
        """
        if mirror is None or int(self.version.partition(".")[0]) >= provision.PLAIN_BUILDKIT:
            return dict(self.daemon)
        return provision.with_plain(self.daemon, mirror)


RELEASES = (
    Release(
        version="20.10",
        recipe=Recipe(name="vm", suite="bookworm", packages=_PACKAGES, hooks=_HOOKS),
    ),
    Release(
        version="26.1",
        recipe=Recipe(
            name="vm",
            suite="trixie",
            packages=(*_PACKAGES, "docker-cli", "docker-buildx"),
            hooks=_HOOKS,
        ),
    ),
    Release(
        version="28.5",
        recipe=Recipe(
            name="vm",
            suite="testing",
            packages=(*_PACKAGES, "docker-cli", "docker-buildx"),
            hooks=_HOOKS,
            rolling=True,
        ),
        daemon={"features": {"containerd-snapshotter": True}},
    ),
)
DEFAULT_VERSION = "20.10"


def release(version: str) -> Release:
    """Return the Docker release of that number; the part after the dot may be left out.

    :raises UsageError: there is none.

    >>> release("28").version
    '28.5'
    """
    for one in RELEASES:
        if version in {one.version, one.version.partition(".")[0]}:
            return one
    raise UsageError(
        brief=f"there is no VM image with Docker {version}",
        resolution=f"Choose one of: {', '.join(one.version for one in RELEASES)}",
    )


def ensure_vm_image(
    engine: Engine,
    version: str = DEFAULT_VERSION,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> str:
    """Return the reference of a VM image, building it when it is absent.

    A build takes about half a minute; a second call finds the first one's result.

    :param version: which Docker it has, see :func:`release`.
    :param progress: told what is happening, one line at a time.
    :raises UsageError: there is no such Docker release.
    :raises HostError: ``mmdebstrap`` or Debian's keyring is missing.
    :raises VmregError: a package cannot be had, or the import failed.
    """
    return ensure(engine, recipe=release(version).recipe, pull=False, progress=progress)
