"""The VM image: a small Debian with a docker of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmreg.images import Recipe, ensure

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmreg.engine import Engine

# Debian's docker.io carries two network test programs that nothing here runs: 27 MB.
_UNUSED = ("usr/bin/dnet", "usr/sbin/ovrouter")

VM_IMAGE = Recipe(
    name="vm",
    suite="bookworm",
    packages=("docker.io", "iptables", "iproute2", "ca-certificates", "mount", "procps"),
    hooks=(
        'mkdir -p "$1/etc/docker"',
        *(f'rm -f "$1/{path}"' for path in _UNUSED),
    ),
)


def ensure_vm_image(engine: Engine, *, progress: Callable[[str], None] = lambda _: None) -> str:
    """Return the reference of the default VM image, building it when it is absent.

    A build takes about half a minute; a second call finds the first one's result.

    :param progress: told what is happening, one line at a time.
    :raises HostError: ``mmdebstrap`` or Debian's keyring is missing.
    :raises VmregError: a package cannot be had, or the import failed.
    """
    return ensure(engine, recipe=VM_IMAGE, pull=False, progress=progress)
